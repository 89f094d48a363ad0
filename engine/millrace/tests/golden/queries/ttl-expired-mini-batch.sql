-- compare: rows at parallelism 1
-- A row a second, and state that lives for much less: each row finds nothing.
SET 'table.exec.state.ttl' = '150 ms';
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '100 ms';
SET 'table.exec.mini-batch.size' = '100';
CREATE TABLE beats (
  n BIGINT, p AS PROCTIME(), k AS n * 0, h AS n / 2,
  ts AS TO_TIMESTAMP_LTZ(n * 10000, 3), WATERMARK FOR ts AS ts + INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen', 'rows-per-second' = '1',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '3'
);
SELECT k, COUNT(*) AS c, SUM(n) AS s FROM beats GROUP BY k;
