-- compare: table at parallelism 1
-- A row a second, and state that lives for much less: each row finds nothing.
SET 'table.exec.state.ttl' = '150 ms';
CREATE TABLE beats (
  n BIGINT, p AS PROCTIME(), k AS n * 0, h AS n / 2,
  ts AS TO_TIMESTAMP_LTZ(n * 10000, 3), WATERMARK FOR ts AS ts + INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen', 'rows-per-second' = '1',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '3'
);
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
