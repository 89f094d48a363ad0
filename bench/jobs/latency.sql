-- Records with the time of their sending, passed on at once: at-least-once, a checkpoint each
-- second. Both engines run this text; ${...} is filled in by the benchmark.
SET 'pipeline.name' = '${name}';
SET 'pipeline.object-reuse' = 'true';
SET 'parallelism.default' = '2';
SET 'execution.checkpointing.interval' = '1 s';
SET 'execution.checkpointing.mode' = 'AT_LEAST_ONCE';
SET 'execution.checkpointing.dir' = '${checkpoints}';

CREATE TABLE input (
  id   BIGINT,
  sent BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = '${input}',
  'properties.bootstrap.servers' = '${bootstrap}',
  'scan.startup.mode' = 'earliest-offset',${source_options}
  'format' = 'json'
);

CREATE TABLE output (
  id   BIGINT,
  sent BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = '${output}',
  'properties.bootstrap.servers' = '${bootstrap}',
  'sink.delivery-guarantee' = 'at-least-once',${sink_options}
  'format' = 'json'
);

INSERT INTO output SELECT * FROM input;
