# Apicurio Registry as Maven Central has it, the gateway that puts Confluent's API at the root, and what makes its topics.
{ jars, jdk17_headless, lib, runCommand }:
let
  release = "3.3.3";
  archive = jars {
    name = "apicurio";
    version = release;
    lock = ../java/apicurio/lock;
  };
in
runCommand "apicurio-registry-${release}"
  {
    nativeBuildInputs = [ jdk17_headless ];
    passthru = { inherit release; };
    meta.license = lib.licenses.asl20;
  }
  ''
    mkdir -p $out
    tar -xf ${archive}/*.tar.gz -C $out
    mkdir $out/gateway $out/topics
    cp ${../../images/schema-registry/Gateway.java} Gateway.java
    cp ${../../images/schema-registry/Topics.java} Topics.java
    javac --release 17 -d $out/gateway Gateway.java
    javac --release 17 -d $out/topics -cp $(echo $out/lib/main/org.apache.kafka.kafka-clients-*.jar) Topics.java
  ''
