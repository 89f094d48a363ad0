-- Records of one topic into another by way of keyed state: exactly-once, a checkpoint each second. Both engines run
-- this text; ${...} is filled in by the benchmark. Keys are spread as at random over 10,000; event time goes on by a
-- millisecond a record, so that a window of 10 s holds 10,000 records, of 63% as many keys.
SET 'pipeline.name' = '${name}';
SET 'pipeline.object-reuse' = 'true';
SET 'parallelism.default' = '2';
SET 'state.backend.type' = 'rocksdb';
SET 'execution.checkpointing.interval' = '1 s';
SET 'execution.checkpointing.mode' = 'EXACTLY_ONCE';
SET 'execution.checkpointing.incremental' = 'true';
SET 'execution.checkpointing.dir' = '${checkpoints}';

CREATE TABLE input (
  id BIGINT,
  v  INT,
  ts TIMESTAMP(3),
  k  AS CAST(MOD(ABS((id * 6364136223846793005 + 1442695040888963407) / 65536), 10000) AS INT),
  p  AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = '${input}',
  'properties.bootstrap.servers' = '${bootstrap}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',${source_options}
  'format' = 'json'
);
