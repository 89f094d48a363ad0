-- compare: changelog by 1
CREATE TABLE amounts (
  id BIGINT, k STRING, amount BIGINT, n INT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/amounts.json', 'format' = 'json');
SELECT k, id, amount, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY amount DESC) AS rn FROM amounts) WHERE rn <= 2;
