-- compare: rows
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, s, rn
FROM (SELECT *, ROW_NUMBER() OVER ( ORDER BY s, k) AS rn FROM (SELECT k, SUM(v) AS s FROM events GROUP BY k))
WHERE rn <= 3;
