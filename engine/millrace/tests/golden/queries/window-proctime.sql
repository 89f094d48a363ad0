-- compare: table
-- In which windows rows come is the clock's choice, what they add up to is not. The beats keep the job at work until
-- the last window is over.
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME()
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE beats (n BIGINT, p AS PROCTIME()) WITH (
  'connector' = 'datagen', 'rows-per-second' = '20',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '60'
);
CREATE VIEW long_events AS
SELECT k, v, p FROM events UNION ALL SELECT 'beat', CAST(n AS INT), p FROM beats WHERE n < 0;
SELECT q, k, SUM(n) AS n, SUM(s) AS s FROM (
  SELECT 'tumble' AS q, k, COUNT(*) AS n, SUM(v) AS s
  FROM TABLE(TUMBLE(TABLE long_events, DESCRIPTOR(p), INTERVAL '0.5' SECOND)) GROUP BY k, window_start, window_end
  UNION ALL
  SELECT 'hop', k, COUNT(*), SUM(v)
  FROM TABLE(HOP(TABLE long_events, DESCRIPTOR(p), INTERVAL '0.2' SECOND, INTERVAL '0.6' SECOND))
  GROUP BY k, window_start, window_end
  UNION ALL
  SELECT 'session', k, COUNT(*), SUM(v)
  FROM TABLE(SESSION(TABLE long_events PARTITION BY k, DESCRIPTOR(p), INTERVAL '0.3' SECOND))
  GROUP BY k, window_start, window_end
  UNION ALL
  SELECT 'row', k, 1, v FROM TABLE(TUMBLE(TABLE long_events, DESCRIPTOR(p), INTERVAL '0.5' SECOND))
  UNION ALL
  SELECT 'greatest', k, 1, MAX(v)
  FROM TABLE(CUMULATE(TABLE long_events, DESCRIPTOR(p), INTERVAL '0.5' SECOND, INTERVAL '1' SECOND))
  WHERE k = 'no key' GROUP BY k, window_start, window_end
) GROUP BY q, k;
