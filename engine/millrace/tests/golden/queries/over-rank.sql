-- compare: changelog by 1 per watermark
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, RANK() OVER w AS r, DENSE_RANK() OVER w AS d, COUNT(*) OVER w AS n
FROM events WINDOW w AS (PARTITION BY k ORDER BY ts);
