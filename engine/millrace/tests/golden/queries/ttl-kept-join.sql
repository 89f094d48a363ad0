-- compare: table
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE notes (
  nr BIGINT, k STRING, g STRING, w SMALLINT, `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/notes.json', 'format' = 'json');
SELECT e.k, e.s, n.k, n.c FROM (SELECT k, SUM(v) AS s FROM events GROUP BY k) e LEFT JOIN (SELECT k, COUNT(*) AS c FROM notes GROUP BY k) n ON e.k = n.k;
