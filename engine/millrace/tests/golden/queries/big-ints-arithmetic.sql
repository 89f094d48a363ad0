-- compare: rows
CREATE TABLE amounts (
  id BIGINT, k STRING, amount BIGINT, n INT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/amounts.json', 'format' = 'json');
SELECT id, amount + 1, amount - 2, amount * 2, -amount, amount / 3, MOD(amount, 1000000007), CAST(amount AS INT), CAST(amount AS STRING), CAST(amount AS DECIMAL(20, 1)), amount > 9007199254740993 FROM amounts;
