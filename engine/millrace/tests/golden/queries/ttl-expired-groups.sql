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
SELECT 'group' AS q, k AS a, COUNT(*) AS b, SUM(n) AS c FROM beats GROUP BY k
UNION ALL
SELECT 'distinct', k, COUNT(DISTINCT h), MAX(n) FROM beats GROUP BY k
UNION ALL
SELECT 'select distinct', k, k, k FROM (SELECT DISTINCT k FROM beats)
UNION ALL
SELECT 'all', COUNT(*), CHAR_LENGTH(LISTAGG(CAST(n AS STRING))), SUM(n) FROM beats
UNION ALL
SELECT 'twice', b, COUNT(*), SUM(c) FROM (SELECT k, COUNT(*) AS b, SUM(n) AS c FROM beats GROUP BY k) GROUP BY b
UNION ALL
SELECT 'retracted', k, MIN(c), MAX(c) FROM (SELECT k, h, SUM(n) AS c FROM beats GROUP BY k, h) GROUP BY k;
