-- compare: changelog by 1
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, SUM(v) OVER w AS s, COUNT(*) OVER w AS n, AVG(d) OVER w AS a, MAX(v) OVER w AS m
FROM events WINDOW w AS (PARTITION BY k ORDER BY p);
