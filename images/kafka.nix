# Kafka 3.9 and 4.x: a broker or controller from the environment, with its tools and a metrics exporter.
{ image, jre-kafka, kafka, shell-tools }:
{ release, line }:
let
  package = kafka { inherit release line; };
in
image {
  name = "kafka";
  tag = release;
  title = "Apache Kafka";
  license = "Apache-2.0";
  user = "kafka";
  uid = 9092;
  contents = [ shell-tools ];
  links = {
    "/opt/kafka" = package;
    "/opt/java" = jre-kafka;
  };
  folders = [ "/var/lib/kafka" ];
  config = {
    Entrypoint = [ "/opt/kafka/bin/kafka-entrypoint" ];
    Env = [ "PATH=/opt/kafka/bin:/opt/java/bin:/bin" "KAFKA_VERSION=${release}" ];
    WorkingDir = "/var/lib/kafka";
    Volumes."/var/lib/kafka" = { };
    ExposedPorts = {
      "9092/tcp" = { };
      "9093/tcp" = { };
      "9094/tcp" = { };
      "9308/tcp" = { };
    };
  };
}
