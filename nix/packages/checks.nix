# What `nix flake check` builds beside the packages: quick proofs that they work.
{ lib, millrace, runCommand }:
{
  # The engine of the store runs a job.
  engine-runs = runCommand "engine-runs" { } ''
    ${lib.getExe millrace} --version
    printf 'CREATE TABLE g (n BIGINT) WITH (%s); CREATE TABLE p (n BIGINT) WITH (%s); INSERT INTO p SELECT n * 2 FROM g;' \
      "'connector' = 'datagen', 'number-of-rows' = '3', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '3'" \
      "'connector' = 'print'" > job.sql
    ${lib.getExe millrace} run --quiet job.sql > printed
    [ "$(wc -l < printed)" = 3 ]
    touch $out
  '';
  # It says what it is under the name that images start it by.
  entrypoint = runCommand "entrypoint" { } ''
    ln -s ${lib.getExe millrace} docker-entrypoint.sh
    ./docker-entrypoint.sh help | grep -q standalone-job
    touch $out
  '';
}
