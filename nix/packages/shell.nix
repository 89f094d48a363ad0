# What CONTRIBUTING.md needs.
{
  cargo,
  clippy,
  engineInputs,
  go,
  jdk17_headless,
  maven,
  mkShell,
  mold,
  openssl,
  python3,
  rustc,
  rustfmt,
  shellcheck,
  skopeo,
  zstd,
}:
mkShell {
  inherit (engineInputs) buildInputs;
  packages = engineInputs.nativeBuildInputs ++ [
    cargo
    clippy
    go
    jdk17_headless
    maven
    mold
    python3
    rustc
    rustfmt
    shellcheck
    skopeo
    zstd
  ];
}
