{
  description = "nixpkgs' names for what this project's flake uses, over Debian's toolchain and the language registries";

  outputs =
    { self }:
    let
      lib = import ./lib.nix;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs systems (system: import ./default.nix { inherit system lib; });
    };
}
