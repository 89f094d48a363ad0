# Apicurio Registry over Kafka: Confluent's API on 8081, Apicurio's own below /apis, metrics and health on 9000.
{ apicurio, image, jre-registry }:
image {
  name = "schema-registry";
  tag = apicurio.release;
  title = "Apicurio Registry";
  license = "Apache-2.0";
  user = "registry";
  uid = 8081;
  contents = [ ];
  links = {
    "/opt/registry" = apicurio;
    "/opt/java" = jre-registry;
  };
  config = {
    Entrypoint = [
      "/opt/java/bin/java"
      "-XX:MaxRAMPercentage=60"
      "-XX:+ExitOnOutOfMemoryError"
      "-XX:-UsePerfData"
      "-Dquarkus.http.host=127.0.0.1"
      "-Dquarkus.http.port=8080"
      "-Dquarkus.management.port=9000"
      "-Djava.util.logging.manager=org.jboss.logmanager.LogManager"
      "-cp"
      "/opt/registry/gateway:/opt/registry/quarkus-run.jar"
      "Gateway"
    ];
    # APICURIO_KAFKASQL_BOOTSTRAP_SERVERS comes from the environment, JAVA_TOOL_OPTIONS if wanted.
    Env = [ "PATH=/opt/java/bin:/bin" "APICURIO_STORAGE_KIND=kafkasql" ];
    WorkingDir = "/tmp";
    ExposedPorts = {
      "8081/tcp" = { };
      "9000/tcp" = { };
    };
  };
}
