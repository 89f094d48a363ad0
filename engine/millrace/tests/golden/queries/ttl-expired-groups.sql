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
