# The package set: what the flake uses of nixpkgs, one file a topic.
{ system, lib }:
let
  # What set-up found on this machine (scripts/nix writes it): paths, and the versions that the store paths depend on.
  host =
    if builtins.pathExists ./host.json then
      builtins.fromJSON (lib.readFile ./host.json)
    else
      throw "nix/offline/host.json is missing: `scripts/nix setup` writes it (scripts/images does so by itself)";

  strict = import ./strict.nix { inherit lib; };
  build = import ./build.nix { inherit system lib host strict; };
  fetch = import ./fetch.nix { inherit system lib host build; };
  libraries = import ./libraries.nix { inherit system lib host build; };
  tools = import ./tools.nix { inherit lib host build libraries; };
  rust = import ./rust.nix { inherit system lib host strict build fetch libraries tools; };
  go = import ./go.nix { inherit system lib host strict build fetch; };
  java = import ./java.nix { inherit system lib host build fetch libraries; };
  images = import ./docker.nix { inherit system lib host build tools; };
in
{
  inherit lib system;
  inherit (build)
    mkShell
    runCommand
    stdenv
    symlinkJoin
    writeShellScriptBin
    writeText
    writeTextDir
    ;
  inherit (fetch) fetchPypi fetchurl;
  inherit (libraries) openssl zlib;
  inherit (tools)
    bash
    bashInteractive
    busybox
    cacert
    cargo
    clippy
    closureInfo
    go
    libclang
    maven
    mold-wrapped
    perl
    pkg-config
    python3
    rustc
    rustfmt
    shellcheck
    skopeo
    zstd
    ;
  inherit (rust) nixpkgs-fmt rustPlatform;
  inherit (go) buildGoModule;
  inherit (java) jdk17_headless jdk21_headless jre_minimal;
  inherit (images) dockerTools;
}
