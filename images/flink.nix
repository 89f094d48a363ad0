# Apache Flink, the platform's second engine, by the arguments of its official image.
{ bash, flink, image, jre-flink, shell-tools }:
image {
  name = "flink";
  tag = flink.release;
  title = "Apache Flink";
  license = "Apache-2.0";
  user = "flink";
  uid = 9999;
  contents = [ bash shell-tools ];
  links = {
    "/opt/java" = jre-flink;
    "/opt/flink" = flink;
    "/docker-entrypoint.sh" = "${flink}/bin/docker-entrypoint.sh";
  };
  config = {
    Entrypoint = [ "/docker-entrypoint.sh" ];
    Cmd = [ "help" ];
    Env = [ "PATH=/opt/flink/bin:/opt/java/bin:/bin" "FLINK_HOME=/opt/flink" "JAVA_HOME=/opt/java" ];
    WorkingDir = "/opt/flink";
    ExposedPorts = {
      "6122/tcp" = { };
      "6123/tcp" = { };
      "6124/tcp" = { };
      "8081/tcp" = { };
      "9249/tcp" = { };
    };
  };
}
