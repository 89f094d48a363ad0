# A static server of job files and other artifacts: what is mounted at /srv.
{ busybox, image }:
image {
  name = "job-server";
  title = "Job server (busybox httpd)";
  license = "GPL-2.0-only";
  user = "server";
  uid = 8080;
  contents = [ busybox ];
  folders = [ "/srv" ];
  config = {
    Entrypoint = [ "/bin/httpd" "-f" "-p" "8080" "-h" "/srv" ];
    Env = [ "PATH=/bin" ];
    WorkingDir = "/srv";
    ExposedPorts."8080/tcp" = { };
  };
}
