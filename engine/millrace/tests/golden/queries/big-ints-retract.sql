-- compare: changelog by 1
CREATE TABLE amounts (
  id BIGINT, k STRING, amount BIGINT, n INT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/amounts.json', 'format' = 'json');
SELECT n, SUM(s), MIN(s), MAX(s), COUNT(*) FROM (SELECT k, MAX(n) AS n, SUM(amount) AS s FROM amounts GROUP BY k) GROUP BY n;
