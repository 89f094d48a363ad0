-- compare: changelog by 1 per watermark
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, STDDEV_POP(DISTINCT v) OVER w AS a, VAR_SAMP(DISTINCT d) OVER w AS b, VAR_SAMP(d) OVER w AS c
FROM events WINDOW w AS (PARTITION BY k ORDER BY ts ROWS BETWEEN 4 PRECEDING AND CURRENT ROW);
