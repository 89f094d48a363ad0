-- compare: table
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
SELECT 'inner' AS q, a.n AS a, b.n AS b FROM beats AS a JOIN beats AS b ON a.k = b.k
UNION ALL
SELECT 'left', a.n, b.n FROM beats AS a LEFT JOIN (SELECT * FROM beats WHERE n <> 3) AS b ON a.k = b.k
UNION ALL
SELECT 'exists', n, k FROM beats AS a WHERE EXISTS (SELECT 1 FROM beats AS b WHERE a.k = b.k AND b.n = 2)
UNION ALL
SELECT 'an interval, which is not forgotten', a.n, b.n
FROM beats AS a JOIN beats AS b ON a.k = b.k AND a.ts BETWEEN b.ts AND b.ts + INTERVAL '15' SECOND
UNION ALL
SELECT 'a window, which is not forgotten', COUNT(*), SUM(n)
FROM TABLE(TUMBLE(TABLE beats, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
