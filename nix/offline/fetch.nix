# Fixed-output fetches, by the ordinary client of each registry: ./fetch.sh.
{ system, lib, host, build }:
let
  fetched =
    { name, hash, kind, env }:
    derivation (
      env
      // {
        inherit system name kind;
        inherit (build) hostPath;
        builder = "/bin/bash";
        args = [ ./fetch.sh ];
        outputHashMode = "flat";
        outputHashAlgo = null;
        outputHash = hash;
        # Where downloads are kept between builds, and whose settings the clients read. The hash decides.
        impureEnvVars = [ "OFFLINE_HOME" "MILLRACE_CACHE" "CARGO_HOME" "http_proxy" "https_proxy" "no_proxy" ];
      }
    );
in
{
  inherit fetched;

  # Of nixpkgs' mirrors, Maven's only: mirror://maven/<group as a path>/<artifact>/<version>/<file>.
  fetchurl =
    { url, hash, name ? baseNameOf url }:
    let
      path = lib.splitString "/" (
        if lib.hasPrefix "mirror://maven/" url then
          lib.removePrefix "mirror://maven/" url
        else
          throw "fetchurl of the offline set knows mirror://maven/ only, not ${url}"
      );
      file = lib.last path;
      version = lib.last (lib.init path);
      artifact = lib.last (lib.init (lib.init path));
      group = lib.concatStringsSep "." (lib.init (lib.init (lib.init path)));
      # <artifact>-<version>[-<classifier>].<type>
      rest = lib.removePrefix "${artifact}-${version}" file;
      classified = builtins.match "-([^.]+)\\.(.+)" rest;
      coordinates =
        if classified == null then
          "${group}:${artifact}:${version}:${lib.removePrefix "." rest}"
        else
          "${group}:${artifact}:${version}:${builtins.elemAt classified 1}:${builtins.elemAt classified 0}";
    in
    fetched {
      inherit name hash;
      kind = "maven";
      env = { inherit coordinates file; };
    };

  fetchPypi =
    { pname, version, hash, extension ? "tar.gz" }:
    fetched {
      name = "${pname}-${version}.${extension}";
      inherit hash;
      kind = "pypi";
      env = { inherit pname version; file = "${pname}-${version}.${extension}"; };
    };

  wheel =
    { pname, version, file, sha256 }:
    fetched {
      name = file;
      hash = builtins.convertHash { hash = sha256; hashAlgo = "sha256"; toHashFormat = "sri"; };
      kind = "wheel";
      env = { inherit pname version file; };
    };

  crate =
    { name, version, sha256 }:
    fetched {
      name = "crate-${name}-${version}.tar.gz";
      hash = builtins.convertHash { hash = sha256; hashAlgo = "sha256"; toHashFormat = "sri"; };
      kind = "crate";
      env = { crate = name; inherit version; cargo = "${host.rust.sysroot}/bin/cargo"; };
    };
}
