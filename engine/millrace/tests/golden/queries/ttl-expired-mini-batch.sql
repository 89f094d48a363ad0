-- compare: rows
-- checkpoint after: 10
-- A row a second, and state that lives for much less: each row finds nothing. The ticks between them go on after a
-- checkpoint, so that it is half a second to the next one then.
SET 'table.exec.state.ttl' = '150 ms';
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '100 ms';
SET 'table.exec.mini-batch.size' = '100';
CREATE TABLE ticks (
  t BIGINT, n AS t / 20, p AS PROCTIME(), ts AS TO_TIMESTAMP_LTZ(t / 20 * 10000, 3),
  WATERMARK FOR ts AS ts + INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen', 'rows-per-second' = '20',
  'fields.t.kind' = 'sequence', 'fields.t.start' = '20', 'fields.t.end' = '60'
);
CREATE VIEW beats AS SELECT n, p, n * 0 AS k, n / 2 AS h, ts FROM ticks WHERE MOD(t, 20) = 0;
SELECT k, COUNT(*) AS c, SUM(n) AS s FROM beats GROUP BY k;
