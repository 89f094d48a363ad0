-- compare: changelog by 1 per watermark
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, MIN(v) OVER w AS s, MAX(d) OVER w AS n, SUM(v) OVER w AS t
FROM events WINDOW w AS (PARTITION BY k ORDER BY ts ROWS 1 PRECEDING);
