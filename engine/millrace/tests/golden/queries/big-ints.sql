-- compare: changelog by 1
CREATE TABLE amounts (
  id BIGINT, k STRING, amount BIGINT, n INT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/amounts.json', 'format' = 'json');
SELECT k, SUM(amount), MIN(amount), MAX(amount), COUNT(DISTINCT amount), SUM(DISTINCT amount), FIRST_VALUE(id), MAX(id) FROM amounts GROUP BY k;
