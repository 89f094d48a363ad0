# Apache Kafka of a lock in nix/java: jars, the tools of bin/, configuration. `jars` has the javaagent of the exporter too.
{
  jars,
  lib,
  python3,
  runCommand,
}:
{ release, line }:
let
  found = jars {
    name = "kafka";
    version = release;
    lock = ../java + "/${line}/lock";
  };
in
runCommand "apache-kafka-${release}"
  {
    nativeBuildInputs = [ python3 ];
    meta.license = lib.licenses.asl20;
  }
  ''
    mkdir -p $out/libs $out/bin $out/config
    cp ${found}/*.jar $out/libs/
    mv $out/libs/jmx_prometheus_javaagent-*.jar $out/libs/jmx_prometheus_javaagent.jar
    cp ${../../images/kafka/jmx-exporter.yaml} $out/config/jmx-exporter.yaml
    # Log4j 1 up to Kafka 3, Log4j 2 after.
    if ls $out/libs/log4j-core-*.jar > /dev/null 2>&1; then
      cp ${../../images/kafka/log4j2.properties} $out/config/log4j2.properties
      logging=-Dlog4j2.configurationFile=/opt/kafka/config/log4j2.properties
      tools=-Dlog4j2.configurationFile=/opt/kafka/config/tools-log4j2.properties
      sed 's/^rootLogger.level = INFO/rootLogger.level = WARN/; s/SYSTEM_OUT/SYSTEM_ERR/' ${../../images/kafka/log4j2.properties} > $out/config/tools-log4j2.properties
    else
      cp ${../../images/kafka/log4j.properties} $out/config/log4j.properties
      logging=-Dlog4j.configuration=file:/opt/kafka/config/log4j.properties
      tools=-Dlog4j.configuration=file:/opt/kafka/config/tools-log4j.properties
      sed 's/=INFO/=WARN/; s/System.out/System.err/' ${../../images/kafka/log4j.properties} > $out/config/tools-log4j.properties
    fi
    sed "s|@logging@|$logging|" ${../../images/kafka/entrypoint} > $out/bin/kafka-entrypoint
    python3 ${../../images/kafka/tools.py} $out "$tools"
    chmod 755 $out/bin/*
  ''
