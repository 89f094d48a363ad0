# Apache Flink's dashboard, as Maven Central has it: the files of web/.
{ jars, lib, python3, runCommand }:
let
  release = "2.1.1";
  found = jars {
    name = "flink-runtime-web";
    version = release;
    lock = ../java/dashboard/lock;
  };
in
runCommand "flink-dashboard-${release}"
  {
    nativeBuildInputs = [ python3 ];
    meta.license = lib.licenses.asl20;
  }
  ''
    python3 -m zipfile -e ${found}/flink-runtime-web-*.jar unpacked
    # Not an archive's, but this builder's permissions.
    find unpacked -type f -exec chmod 644 {} +
    mv unpacked/web $out
  ''
