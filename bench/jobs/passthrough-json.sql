-- Every record of one topic, decoded and encoded again, into another: exactly-once, a checkpoint
-- each second. Both engines run this text; ${...} is filled in by the benchmark.
SET 'pipeline.name' = '${name}';
SET 'pipeline.object-reuse' = 'true';
SET 'parallelism.default' = '2';
SET 'execution.checkpointing.interval' = '1 s';
SET 'execution.checkpointing.mode' = 'EXACTLY_ONCE';
SET 'execution.checkpointing.dir' = '${checkpoints}';

CREATE TABLE input (
  id BIGINT,
  k  STRING,
  v  INT,
  ts TIMESTAMP(3)
) WITH (
  'connector' = 'kafka',
  'topic' = '${input}',
  'properties.bootstrap.servers' = '${bootstrap}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',${source_options}
  'format' = 'json'
);

CREATE TABLE output (
  id BIGINT,
  k  STRING,
  v  INT,
  ts TIMESTAMP(3)
) WITH (
  'connector' = 'kafka',
  'topic' = '${output}',
  'properties.bootstrap.servers' = '${bootstrap}',
  'properties.transaction.timeout.ms' = '600000',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = '${name}',${sink_options}
  'format' = 'json'
);

INSERT INTO output SELECT * FROM input;
