-- compare: table
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE notes (
  nr BIGINT, k STRING, g STRING, w SMALLINT, `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/notes.json', 'format' = 'json');
SELECT l.id,l.k,r.nr,l.window_start,r.window_end FROM (SELECT * FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND))) l INNER JOIN (SELECT * FROM TABLE(HOP(TABLE notes, DESCRIPTOR(`at`), INTERVAL '10' SECOND, INTERVAL '20' SECOND))) r ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end;
