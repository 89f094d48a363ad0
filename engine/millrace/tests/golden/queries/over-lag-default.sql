-- compare: changelog by 1 per watermark
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, LAG(COALESCE(v, 9), 1, 0) OVER w AS a, LAG(v, 2, CAST(id AS INT)) OVER w AS b, LAG(g, 1, NULLIF(k, 'b')) OVER w AS c,
  LAG(COALESCE(g, '?'), 3, 'none') OVER w AS e, LAG(ts, 1, TIMESTAMP '2020-01-01 00:00:00') OVER w AS f, LAG(id, 1, CAST(0 AS BIGINT)) OVER w AS n
FROM events WHERE ts IS NOT NULL AND id IS NOT NULL WINDOW w AS (PARTITION BY k ORDER BY ts);
