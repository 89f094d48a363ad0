# The engine, from its own sources and the compiled dependencies.
{
  lib,
  rustPlatform,
  engineInputs,
  engineSource,
  millrace-dependencies,
}:
rustPlatform.buildRustPackage (
  engineInputs
  // {
    pname = "millrace";
    src = engineSource;
    # What is not the engine's is there for Cargo to choose the same features as in a checkout.
    postPatch = "python3 ${../dependencies.py} empty .";

    preBuild = ''
      mkdir target
      zstd -dcq ${millrace-dependencies}/target.tar.zst | tar -x -C target
      python3 ${../dependencies.py} unpack target "$NIX_BUILD_TOP/cargo-vendor-dir"
    '' + engineInputs.preBuild;
    buildPhase = ''
      runHook preBuild
      CARGO_INCREMENTAL=0 cargo build -j "$NIX_BUILD_CORES" --offline --release --workspace --bins
      runHook postBuild
    '';
    doCheck = false; # the tests need brokers: make test
    installPhase = ''
      runHook preInstall
      install -D -m755 target/release/millrace $out/bin/millrace
      runHook postInstall
    '';
    disallowedReferences = [ millrace-dependencies engineSource ];
    meta = {
      description = "Stream processing engine: Apache Flink from the outside, Arrow inside";
      mainProgram = "millrace";
      license = lib.licenses.asl20;
      platforms = lib.platforms.linux;
    };
  }
)
