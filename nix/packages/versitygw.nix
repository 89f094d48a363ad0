# The S3 server, from scripts/tools' go.mod.
{ buildGoModule, lib }:
buildGoModule {
  pname = "versitygw";
  version = "1.8.0";
  src = ../../scripts/tools;
  vendorHash = "sha256-HPCP436b1Hw1yZQufHseJ37516amfOGo3tQVMyPTDN4=";
  proxyVendor = true;
  env.CGO_ENABLED = "0";
  buildPhase = ''
    runHook preBuild
    go build -mod=mod -trimpath -ldflags '-s -w -buildid=' -o versitygw github.com/versity/versitygw/cmd/versitygw
    runHook postBuild
  '';
  doCheck = false;
  installPhase = "install -D -m755 versitygw $out/bin/versitygw";
  meta = {
    mainProgram = "versitygw";
    license = lib.licenses.asl20;
  };
}
