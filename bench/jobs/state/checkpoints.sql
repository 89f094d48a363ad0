-- A state of a gibibyte, of which one percent changes between two checkpoints: each key once, and beside it
-- changes of keys at random at a steady rate. ${...} is filled in by the benchmark.
SET 'pipeline.name' = '${name}';
SET 'pipeline.object-reuse' = 'true';
SET 'parallelism.default' = '2';
SET 'state.backend.type' = 'rocksdb';
SET 'execution.checkpointing.interval' = '1 s';
SET 'execution.checkpointing.incremental' = 'true';
SET 'execution.checkpointing.dir' = '${checkpoints}';
${settings}

-- Of files: a sequence of Apache Flink's generator has all numbers to come in each checkpoint.
CREATE TABLE filled (
  k    BIGINT,
  text AS SUBSTRING(
    SHA512(CAST(k AS STRING)) || SHA512(CAST(k + ${last} AS STRING)) || SHA512(CAST(-k AS STRING)), 1, ${length})
) WITH (
  'connector' = 'filesystem',
  'path' = '${input}',
  'format' = 'csv'
);

CREATE TABLE changed (k BIGINT, text STRING) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '${changes}',
  'fields.k.min' = '0',
  'fields.k.max' = '${last}',
  'fields.text.length' = '${length}'
);

CREATE TABLE nothing (k BIGINT, n BIGINT, text STRING) WITH ('connector' = 'blackhole');

INSERT INTO nothing
SELECT k, COUNT(*), LAST_VALUE(text)
FROM (SELECT k, text FROM filled UNION ALL SELECT k, text FROM changed)
GROUP BY k;
