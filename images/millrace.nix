# The engine, by the contract of Apache Flink's image: arguments, environment, ports, user, /opt/flink/conf. No shell,
# but in the variant for debugging, which has busybox.
{ dashboard, image, lib, millrace, millrace-crates, shell-tools }:
{ debug ? false }:
image {
  name = "millrace";
  variant = lib.optionalString debug "-debug";
  title = "Millrace";
  license = "Apache-2.0";
  user = "flink";
  uid = 9999;
  contents = [ millrace ] ++ lib.optional debug shell-tools;
  linked = {
    package = millrace;
    type = "cargo";
    list = millrace-crates;
  };
  links = {
    "/docker-entrypoint.sh" = "${millrace}/bin/millrace";
    "/opt/flink/web" = dashboard;
  };
  folders = [ "/opt/flink/conf" "/opt/flink/log" "/var/lib/millrace" ];
  config = {
    Entrypoint = [ "/docker-entrypoint.sh" ];
    Cmd = [ "help" ];
    Env = [ "PATH=/bin" "FLINK_HOME=/opt/flink" ];
    WorkingDir = "/opt/flink";
    ExposedPorts = {
      "6121/tcp" = { };
      "6122/tcp" = { };
      "6123/tcp" = { };
      "6124/tcp" = { };
      "8081/tcp" = { };
      "9249/tcp" = { };
    };
  };
}
