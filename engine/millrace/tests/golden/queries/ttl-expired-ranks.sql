-- compare: changelog by 1 without mini-batches
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
SELECT 'first' AS q, n AS a, h AS b, rn AS c
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY p) AS rn FROM beats) WHERE rn <= 2
UNION ALL
SELECT 'first row', n, h, n
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY p) AS rn FROM beats) WHERE rn = 1
UNION ALL
SELECT 'last row', n, h, n
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY p DESC) AS rn FROM beats) WHERE rn = 1
UNION ALL
SELECT 'first row by time', n, h, n
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS rn FROM beats) WHERE rn = 1
UNION ALL
SELECT 'last row by time', n, h, n
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM beats) WHERE rn = 1
UNION ALL
SELECT 'top 1', n, h, n
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY n) AS rn FROM beats) WHERE rn = 1
UNION ALL
SELECT 'top n', n, h, rn
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY n DESC) AS rn FROM beats) WHERE rn <= 2
UNION ALL
SELECT 'top n of updates', h, c, rn
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY c DESC) AS rn
  FROM (SELECT k, h, COUNT(*) AS c FROM beats GROUP BY k, h)) WHERE rn <= 2
UNION ALL
SELECT 'top n of changes', h, c, rn
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY c) AS rn
  FROM (SELECT k, h, SUM(n) - COUNT(*) AS c FROM beats GROUP BY k, h)) WHERE rn <= 2;
