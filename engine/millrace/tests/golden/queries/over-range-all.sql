-- compare: rows per watermark
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT id, ts, SUM(v) OVER (ORDER BY ts) AS s FROM events;
