# A static server of job files and other artifacts: what is mounted at /srv.
{ applets, image, runCommand, shell-tools }:
let
  entrypoint = runCommand "job-server-entrypoint" { } "install -D -m755 ${./job-server/entrypoint} $out/bin/job-server";
in
image {
  name = "job-server";
  title = "Job server (busybox httpd)";
  license = "GPL-2.0-only";
  user = "server";
  uid = 8080;
  contents = [ shell-tools (applets [ "httpd" ]) entrypoint ];
  folders = [ "/srv" ];
  config = {
    Entrypoint = [ "/bin/job-server" ];
    WorkingDir = "/srv";
    ExposedPorts."8080/tcp" = { };
  };
}
