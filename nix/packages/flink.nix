# Apache Flink's distribution as PyPI has it, with the connectors, formats and plugins of nix/java/flink.
{ fetchPypi, jars, lib, runCommand }:
let
  # `apache-flink-libraries==VERSION --hash=sha256:HEXADECIMAL`
  archive = builtins.match ".*==([0-9.]+).*--hash=sha256:([0-9a-f]+).*" (lib.readFile ../java/flink/requirements.txt);
  release = builtins.elemAt archive 0;
  distribution = fetchPypi {
    pname = "apache_flink_libraries";
    version = release;
    hash = builtins.convertHash {
      hash = builtins.elemAt archive 1;
      hashAlgo = "sha256";
      toHashFormat = "sri";
    };
  };
  more = jars {
    name = "flink";
    version = release;
    lock = ../java/flink/lock;
  };
in
runCommand "apache-flink-${release}"
  {
    passthru = { inherit release; };
    meta.license = lib.licenses.asl20;
  }
  ''
    tar -xf ${distribution}
    mkdir -p $out/conf
    mv apache_flink_libraries-${release}/deps/{bin,lib,opt,plugins,licenses} $out/
    mv apache_flink_libraries-${release}/{LICENSE,NOTICE} $out/
    cp ${../../images/flink/config.yaml} $out/conf/config.yaml
    cp ${../../images/flink/log4j-console.properties} $out/conf/log4j-console.properties
    cp ${more}/flink-sql-connector-kafka-*.jar ${more}/flink-sql-avro-confluent-registry-*.jar $out/lib/
    # A plugin has a folder, and a class loader, of its own.
    mkdir $out/plugins/s3-fs-hadoop
    cp ${more}/flink-s3-fs-hadoop-*.jar $out/plugins/s3-fs-hadoop/
    # The SQL client, its gateway and the driver of .sql applications are of the class path.
    cp ${more}/flink-sql-gateway-*.jar $out/lib/
    mv $out/opt/flink-sql-client-*.jar $out/opt/flink-python-*.jar $out/lib/
    install -m755 ${../../images/flink/entrypoint} $out/bin/docker-entrypoint.sh
    find $out -type f -exec chmod go-w {} +
  ''
