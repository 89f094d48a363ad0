# What CONTRIBUTING.md needs.
{
  engineInputs,
  go,
  jdk17_headless,
  maven,
  mkShell,
  mold,
  openssl,
  python3,
  shellcheck,
  zstd,
}:
mkShell {
  inherit (engineInputs) buildInputs;
  packages = engineInputs.nativeBuildInputs ++ [
    go
    jdk17_headless
    maven
    mold
    python3
    shellcheck
    zstd
  ];
}
