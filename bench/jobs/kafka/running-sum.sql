CREATE TABLE output (k INT, id BIGINT, total BIGINT) WITH (
  'connector' = 'kafka',
  'topic' = '${output}',
  'properties.bootstrap.servers' = '${bootstrap}',
  'properties.transaction.timeout.ms' = '600000',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = '${name}',${sink_options}
  'format' = 'json'
);

INSERT INTO output
SELECT k, id, SUM(CAST(v AS BIGINT)) OVER (PARTITION BY k ORDER BY p) FROM input;
