# Apache ZooKeeper of nix/java/zookeeper: jars, its command line, the image's entrypoint.
{ jars, lib, runCommand }:
let
  release = "3.9.4";
  found = jars {
    name = "zookeeper";
    version = release;
    lock = ../java/zookeeper/lock;
  };
in
runCommand "apache-zookeeper-${release}"
  {
    passthru = { inherit release; };
    meta.license = lib.licenses.asl20;
  }
  ''
    mkdir -p $out/libs $out/bin $out/config
    cp ${found}/*.jar $out/libs/
    cp ${../../images/zookeeper/logback.xml} $out/config/logback.xml
    cp ${../../images/zookeeper/entrypoint} $out/bin/zookeeper-entrypoint
    for tool in zkCli.sh:ZooKeeperMain zkSnapShotToolkit.sh:server.SnapshotFormatter zkTxnLogToolkit.sh:server.persistence.TxnLogToolkit; do
      printf '#!/bin/sh\nexec java -Xmx256m -XX:+UseSerialGC -XX:-UsePerfData -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "/opt/zookeeper/libs/*" org.apache.zookeeper.%s "$@"\n' \
        "''${tool#*:}" > $out/bin/''${tool%%:*}
    done
    chmod 755 $out/bin/*
  ''
