# The engine's dependencies, compiled: every crate of Cargo.lock as `cargo build`, `cargo test` and `cargo clippy` of the
# workspace want it. It changes with Cargo.lock and the manifests alone. Both the engine's own derivation and the
# target folder of a checkout (scripts/seed-target) are filled from it.
{
  rustPlatform,
  engineInputs,
  manifests,
}:
rustPlatform.buildRustPackage (
  engineInputs
  // {
    pname = "millrace-dependencies";
    src = manifests;

    # Empty sources, where the manifests say that there are some.
    postPatch = "python3 ${../dependencies.py} empty .";
    buildPhase = ''
      runHook preBuild
      jobs="-j $NIX_BUILD_CORES --offline --release --workspace"
      cargo build $jobs --bins
      cargo test $jobs --no-run
      cargo check $jobs --all-targets
      runHook postBuild
    '';
    doCheck = false;
    installPhase = ''
      runHook preInstall
      mkdir $out
      python3 ${../dependencies.py} pack target "$NIX_BUILD_TOP/cargo-vendor-dir"
      tar --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner -C target -c release | zstd -T0 -q -o $out/target.tar.zst
      rustc --version --verbose > $out/rustc
      runHook postInstall
    '';
  }
)
