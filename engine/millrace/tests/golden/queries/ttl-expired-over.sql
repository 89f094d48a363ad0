-- compare: changelog by 1
-- checkpoint after: 10
-- A row a second, and state that lives for much less: each row finds nothing. The ticks between them go on after a
-- checkpoint, so that it is half a second to the next one then.
SET 'table.exec.state.ttl' = '150 ms';
CREATE TABLE ticks (
  t BIGINT, n AS t / 20, p AS PROCTIME(), ts AS TO_TIMESTAMP_LTZ(t / 20 * 10000, 3),
  WATERMARK FOR ts AS ts + INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen', 'rows-per-second' = '20',
  'fields.t.kind' = 'sequence', 'fields.t.start' = '20', 'fields.t.end' = '60'
);
CREATE VIEW beats AS SELECT n, p, n * 0 AS k, n / 2 AS h, ts FROM ticks WHERE MOD(t, 20) = 0;
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
