# buildGoModule over the host's Go: the modules are a fixed-output fetch of their own, as in nixpkgs.
{ system, lib, host, strict, build, fetch }:
let
  attributes = [
    "pname" "version" "src" "vendorHash" "proxyVendor" "env" "meta" "passthru" "doCheck" "buildPhase" "installPhase"
    "postUnpack" "postPatch" "preBuild" "postBuild" "postInstall" "disallowedReferences"
  ];
in
{
  buildGoModule =
    args0:
    let
      args = strict.known "buildGoModule" attributes args0;
      goModules = derivation {
        inherit system;
        inherit (args) src;
        inherit (build) hostPath;
        name = "${args.pname}-${args.version}-go-modules";
        builder = "/bin/bash";
        args = [ ./fetch.sh ];
        kind = "go";
        go = "${host.go.root}/bin/go";
        outputHashMode = "recursive";
        outputHashAlgo = null;
        outputHash = args.vendorHash;
        impureEnvVars = [ "OFFLINE_HOME" "http_proxy" "https_proxy" "no_proxy" ];
      };
    in
    assert
      (args.proxyVendor or false)
      || throw "buildGoModule of the offline set: proxyVendor = true only (the module cache as the proxy has it)";
    build.raw (
      {
        go = host.go.version;
        preBuild = "";
      }
      // removeAttrs args [ "vendorHash" "proxyVendor" ]
      // {
        passthru = { inherit goModules; };
        configurePhase = ''
          export PATH="${host.go.root}/bin:$PATH" GOPATH="$NIX_BUILD_TOP/go" GOCACHE="$NIX_BUILD_TOP/go-cache"
          export GOPROXY="file://${goModules}" GOSUMDB=off GOTOOLCHAIN=local GOFLAGS="-trimpath" CGO_ENABLED=''${CGO_ENABLED-1}
        '';
      }
    );
}
