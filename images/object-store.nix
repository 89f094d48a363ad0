# An S3 server over a folder: versitygw. One replica: its conditional writes are locked in the process.
{ image, modules, runCommand, shell-tools, versitygw }:
let
  entrypoint = runCommand "object-store-entrypoint" { } "install -D -m755 ${./object-store/entrypoint} $out/bin/object-store";
in
image {
  name = "object-store";
  tag = versitygw.version;
  title = "Object store (versitygw)";
  license = "Apache-2.0";
  user = "store";
  uid = 7070;
  contents = [ shell-tools entrypoint versitygw ];
  linked = {
    package = versitygw;
    type = "golang";
    list = modules versitygw;
  };
  folders = [ "/var/lib/objects" ];
  config = {
    Entrypoint = [ "/bin/object-store" ];
    WorkingDir = "/var/lib/objects";
    Volumes."/var/lib/objects" = { };
    ExposedPorts."7070/tcp" = { };
  };
}
