-- compare: changelog by 1 per watermark
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, STDDEV_POP(v) OVER w AS a, STDDEV_SAMP(d) OVER w AS b, VAR_POP(v) OVER w AS c, VAR_SAMP(d) OVER w AS e,
  VARIANCE(CAST(v AS DECIMAL(5, 1))) OVER w AS f, STDDEV(CAST(v AS BIGINT)) OVER w AS h, VAR_POP(CAST(d AS FLOAT)) OVER w AS i,
  VAR_SAMP(CAST(v AS TINYINT)) OVER w AS j
FROM events WINDOW w AS (PARTITION BY k ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW);
