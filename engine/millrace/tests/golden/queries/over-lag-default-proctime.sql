-- compare: changelog by 1
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, LAG(COALESCE(v, 9), 1, 0) OVER w AS a, LAG(v, 2, CAST(id AS INT)) OVER w AS b, SUM(v) OVER w AS s
FROM events WINDOW w AS (PARTITION BY k ORDER BY p);
