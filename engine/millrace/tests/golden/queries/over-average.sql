-- compare: changelog by 1 per watermark
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, AVG(CAST(1500000000 AS INT) + v) OVER w AS a, AVG(CAST(v * 10 AS TINYINT)) OVER w AS b, AVG(DISTINCT v) OVER w AS c,
  AVG(CAST(v AS DECIMAL(5, 1))) OVER w AS e, SUM(DISTINCT CAST(v AS DECIMAL(5, 1))) OVER w AS f
FROM events WINDOW w AS (PARTITION BY k ORDER BY ts);
