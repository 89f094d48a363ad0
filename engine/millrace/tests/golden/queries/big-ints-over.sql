-- compare: changelog by 2 per watermark
CREATE TABLE amounts (
  id BIGINT, k STRING, amount BIGINT, n INT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/amounts.json', 'format' = 'json');
SELECT id, k, SUM(amount) OVER w, MAX(amount) OVER w FROM amounts WINDOW w AS (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);
