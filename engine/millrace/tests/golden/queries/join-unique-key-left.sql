-- compare: table
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE notes (
  nr BIGINT, k STRING, g STRING, w SMALLINT, `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/notes.json', 'format' = 'json');
SELECT e.k, e.g, s, n.g, n.c FROM (SELECT k, g, SUM(v) AS s FROM events GROUP BY k, g) e LEFT JOIN (SELECT k, g, COUNT(*) AS c FROM notes GROUP BY k, g) n ON e.k = n.k AND s > c;
