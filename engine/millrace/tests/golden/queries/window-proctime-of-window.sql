-- compare: table
-- Windows that rows bring along are over by the clock as they come: how many rows come together, nobody promises.
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME()
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE beats (n BIGINT, p AS PROCTIME()) WITH (
  'connector' = 'datagen', 'rows-per-second' = '20',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '60'
);
CREATE VIEW long_events AS
SELECT k, v, p FROM events UNION ALL SELECT 'beat', CAST(n AS INT), p FROM beats WHERE n < 0;
CREATE VIEW by_key AS
SELECT k, window_start, window_end, COUNT(*) AS n, SUM(v) AS s
FROM TABLE(TUMBLE(TABLE long_events, DESCRIPTOR(p), INTERVAL '0.5' SECOND)) GROUP BY k, window_start, window_end;
SELECT SUM(n) AS n, SUM(s) AS s FROM (
  SELECT SUM(n) AS n, SUM(s) AS s FROM by_key GROUP BY window_start, window_end
);
