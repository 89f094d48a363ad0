-- compare: changelog by 1
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT g, k, s, rn
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY s DESC) AS rn FROM (SELECT g, k, SUM(v) AS s FROM events GROUP BY g, k))
WHERE rn <= 2;
