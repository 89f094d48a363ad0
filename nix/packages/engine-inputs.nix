# What every derivation that compiles the engine's crates is made with.
{
  mold-wrapped,
  rustPlatform,
  openssl,
  perl,
  pkg-config,
  python3,
  version,
  zlib,
  zstd,
}:
{
  inherit version;
  cargoLock.lockFile = ../../Cargo.lock;
  nativeBuildInputs = [
    mold-wrapped # .cargo/config.toml links with it; the wrapper adds the run path
    perl
    pkg-config
    python3 # ../dependencies.py
    rustPlatform.bindgenHook
    zstd
  ];
  buildInputs = [
    openssl
    zlib
  ];
  # No path of a build folder gets into a binary. Both are read by wrappers of the compilers, and so unknown to Cargo.
  preBuild = ''
    export NIX_RUSTFLAGS="''${NIX_RUSTFLAGS-} --remap-path-prefix=$NIX_BUILD_TOP=/build"
    export NIX_CFLAGS_COMPILE="''${NIX_CFLAGS_COMPILE-} -ffile-prefix-map=$NIX_BUILD_TOP=/build"
  '';
}
