# The crates that the engine's binary is linked from, with their licences: `name version licence` a line.
{
  rustPlatform,
  engineInputs,
  manifests,
}:
rustPlatform.buildRustPackage (
  engineInputs
  // {
    pname = "millrace-crates";
    src = manifests;
    postPatch = "python3 ${../dependencies.py} empty .";
    buildPhase = ''
      runHook preBuild
      # name vVERSION [(where it is from)] | licence
      cargo tree --offline --package millrace --edges normal,no-proc-macro --no-dedupe --prefix none --format '{p} | {l}' |
        sed -n 's/^\([^ ]*\) v\([^ ]*\) .*| \(.*\)$/\1 \2 \3/p' | sort -u > crates
      runHook postBuild
    '';
    doCheck = false;
    installPhase = "grep -v '^millrace' crates > $out";
  }
)
