-- compare: set
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME()
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE notes (
  nr BIGINT, k STRING, g STRING, w SMALLINT, `at` TIMESTAMP(3), p AS PROCTIME()
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/notes.json', 'format' = 'json');
SELECT id, e.k, nr, w FROM events e JOIN notes n ON e.g = n.g AND n.p > e.p - INTERVAL '1' DAY AND n.p < e.p + INTERVAL '1' DAY AND e.v > n.w;
