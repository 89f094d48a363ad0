CREATE TABLE output (k INT, n BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka',
  'topic' = '${output}',
  'properties.bootstrap.servers' = '${bootstrap}',
  'properties.transaction.timeout.ms' = '600000',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = '${name}',${sink_options}
  'key.format' = 'json',
  'value.format' = 'json'
);

INSERT INTO output SELECT k, COUNT(*), SUM(CAST(v AS BIGINT)) FROM input GROUP BY k;
