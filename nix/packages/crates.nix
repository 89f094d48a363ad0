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
      cargo tree --offline --package millrace --edges normal,no-proc-macro --prefix none --format '{p} {l}' |
        sed -n 's/^\([^ ]*\) v\([^ ]*\) \((.*) \)\{0,1\}\(.*\)$/\1 \2 \4/p' | sort -u > crates
      runHook postBuild
    '';
    doCheck = false;
    installPhase = "grep -v '^millrace' crates > $out";
  }
)
