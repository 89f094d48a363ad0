# What CONTRIBUTING.md needs.
{
  cargo,
  clippy,
  engineInputs,
  go,
  jdk17_headless,
  maven,
  mkShell,
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
    python3
    rustc
    rustfmt
    shellcheck
    skopeo
    zstd
  ];
}
