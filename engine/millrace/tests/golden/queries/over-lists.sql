-- compare: changelog by 1 per watermark
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, FIRST_VALUE(v) OVER w AS a, LAST_VALUE(d) OVER w AS b, LISTAGG(g, '-') OVER w AS c, LISTAGG(DISTINCT g) OVER w AS e,
  ARRAY_AGG(v) OVER w AS f, ARRAY_AGG(DISTINCT v) OVER w AS h, ARRAY_AGG(g IGNORE NULLS) OVER w AS i
FROM events WINDOW w AS (PARTITION BY k ORDER BY ts);
