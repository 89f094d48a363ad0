{
  description = "Millrace: a reproducible streaming platform";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      # With an input overridden, Nix does not tell the revision even of a clean tree: then the tree's hash.
      revision = self.rev or self.narHash;
      # Where the images' source is: this tree in the store, named and not kept.
      source = builtins.unsafeDiscardStringContext self.outPath;
      forEach =
        f:
        lib.genAttrs systems (
          system:
          f (
            import ./nix {
              pkgs = nixpkgs.legacyPackages.${system};
              inherit revision source;
            }
          )
        );
      app = package: description: {
        type = "app";
        program = lib.getExe package;
        meta.description = description;
      };
    in
    {
      # `nix build .#millrace`, `nix build .#image-kafka`, `nix build .#images`
      packages = forEach (
        ours:
        {
          inherit (ours) millrace millrace-dependencies versitygw;
          images = ours.all-images;
          default = ours.millrace;
        }
        // lib.mapAttrs' (name: lib.nameValuePair "image-${name}") ours.images
      );

      # `nix run .`, `nix run .#load-images`, `nix run .#push-images REGISTRY`
      apps = forEach (ours: {
        default = app ours.millrace "The engine";
        load-images = app ours.load-images "Loads images into Docker or a kind cluster";
        push-images = app ours.push-images "Copies images to a registry and prints their digests for kustomize";
      });

      # `nix flake check`
      checks = forEach (ours: ours.checks);

      # `nix develop`: what CONTRIBUTING.md needs
      devShells = forEach (ours: { default = ours.shell; });

      # `nix fmt`
      formatter = forEach (ours: ours.formatter);
    };
}
