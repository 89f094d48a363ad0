# What makes the set strict. Nix itself refuses an attribute that is not there and an argument that a closed
# function does not have; nixpkgs' open functions (`...`) would take a misspelled name as an environment variable
# in silence. Here a name that is neither an argument of nixpkgs' function nor in `env` is an error.
{ lib }:
{
  known =
    function: names: args:
    let
      unknown = builtins.filter (name: !(builtins.elem name names)) (builtins.attrNames args);
    in
    if unknown == [ ] then
      args
    else
      throw "${function} of the offline set: nixpkgs has no argument ${lib.concatStringsSep ", " unknown}; a variable of the build goes into `env`";

  # Arguments that nixpkgs has and the set does not: refused, never ignored.
  without =
    function: names: args:
    let
      met = builtins.filter (name: builtins.hasAttr name args) names;
    in
    if met == [ ] then
      args
    else
      throw "${function} of the offline set does not do ${lib.concatStringsSep ", " met}: nixpkgs does; extend nix/offline";
}
