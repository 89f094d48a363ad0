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
SELECT g, s FROM (SELECT g, SUM(v) AS s FROM events GROUP BY g) e WHERE NOT EXISTS (SELECT 1 FROM (SELECT w, COUNT(*) AS c FROM notes GROUP BY w) n WHERE n.c * 10 > e.s);
