-- compare: rows per watermark
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT id, COUNT(DISTINCT k) OVER w AS c, SUM(DISTINCT d) OVER w AS s, COUNT(DISTINCT v) OVER w AS n
FROM events WINDOW w AS (ORDER BY ts ROWS BETWEEN 9 PRECEDING AND CURRENT ROW);
