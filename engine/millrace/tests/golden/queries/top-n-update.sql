-- compare: changelog by 1 at parallelism 1 without mini-batches
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT g, k, n, m
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY n DESC) AS rn FROM (SELECT g, k, COUNT(*) AS n, MAX(v) AS m FROM events GROUP BY g, k))
WHERE rn <= 2;
