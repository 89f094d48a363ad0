-- compare: changelog by 1 per watermark
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, COUNT(DISTINCT v) OVER w AS c, SUM(DISTINCT v) OVER w AS s, AVG(DISTINCT d) OVER w AS a,
  MIN(DISTINCT v) OVER w AS n, COUNT(DISTINCT g) OVER w AS t, SUM(v) OVER w AS x
FROM events WINDOW w AS (PARTITION BY k ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW);
