-- compare: changelog by 1 at parallelism 1
-- A row a second, and state that lives for much less: each row finds nothing.
SET 'table.exec.state.ttl' = '150 ms';
CREATE TABLE beats (
  n BIGINT, p AS PROCTIME(), k AS n * 0, h AS n / 2,
  ts AS TO_TIMESTAMP_LTZ(n * 10000, 3), WATERMARK FOR ts AS ts + INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen', 'rows-per-second' = '1',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '3'
);
SELECT 'running' AS q, n AS a, SUM(n) OVER (PARTITION BY k ORDER BY p) AS b, LAG(n) OVER (PARTITION BY k ORDER BY p) AS c
FROM beats
UNION ALL
SELECT 'rows by arrival', n, SUM(n) OVER (PARTITION BY k ORDER BY p ROWS BETWEEN 2 PRECEDING AND CURRENT ROW), n
FROM beats
UNION ALL
SELECT 'rows by time', n, SUM(n) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW), n
FROM beats
UNION ALL
SELECT 'all rows by time', n, SUM(n) OVER (PARTITION BY k ORDER BY ts ROWS UNBOUNDED PRECEDING), n
FROM beats
UNION ALL
SELECT 'all by time', n, SUM(n) OVER (PARTITION BY k ORDER BY ts), n
FROM beats
UNION ALL
SELECT 'a minute, which is not forgotten', n, SUM(n) OVER (
  PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW), n
FROM beats;
