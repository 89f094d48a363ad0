-- Keys from files, as many as the state is to have, into an updating aggregation: first each key once, then keys
-- by a distribution. ${...} is filled in by the benchmark.
SET 'pipeline.name' = '${name}';
SET 'pipeline.object-reuse' = 'true';
SET 'parallelism.default' = '2';
SET 'state.backend.type' = 'rocksdb';
SET 'execution.checkpointing.interval' = '1 s';
SET 'execution.checkpointing.incremental' = 'true';
SET 'execution.checkpointing.dir' = '${checkpoints}';
${settings}

CREATE TABLE source (k BIGINT) WITH (
  'connector' = 'filesystem',
  'path' = '${input}',
  'format' = 'csv'
);

CREATE TABLE nothing (k BIGINT, n BIGINT, total BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nothing SELECT k, COUNT(*), SUM(k) FROM source GROUP BY k;
