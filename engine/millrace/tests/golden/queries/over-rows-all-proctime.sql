-- compare: rows
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME()
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT id, SUM(v) OVER w, MAX(d) OVER w, COUNT(*) OVER w FROM events WINDOW w AS (ORDER BY p ROWS BETWEEN 4 PRECEDING AND CURRENT ROW);
