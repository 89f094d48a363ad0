# An S3 server over a folder: versitygw. One replica: its conditional writes are locked in the process.
{ image, versitygw }:
image {
  name = "object-store";
  tag = versitygw.version;
  title = "Object store (versitygw)";
  license = "Apache-2.0";
  user = "store";
  uid = 7070;
  contents = [ versitygw ];
  folders = [ "/var/lib/objects" ];
  config = {
    Entrypoint = [ "/bin/versitygw" ];
    # ROOT_ACCESS_KEY and ROOT_SECRET_KEY come from the environment.
    Cmd = [ "--port" ":7070" "--health" "/healthz" "posix" "--sidecar" "/var/lib/objects/attributes" "/var/lib/objects/buckets" ];
    WorkingDir = "/var/lib/objects";
    Volumes."/var/lib/objects" = { };
    ExposedPorts."7070/tcp" = { };
  };
}
