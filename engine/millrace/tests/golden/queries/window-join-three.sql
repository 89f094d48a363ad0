-- compare: set
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE notes (
  nr BIGINT, k STRING, g STRING, w SMALLINT, `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/notes.json', 'format' = 'json');
SELECT a.id, b.nr, c.nr FROM (SELECT * FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND))) a JOIN (SELECT * FROM TABLE(TUMBLE(TABLE notes, DESCRIPTOR(`at`), INTERVAL '5' SECOND))) b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end JOIN (SELECT * FROM TABLE(TUMBLE(TABLE notes, DESCRIPTOR(`at`), INTERVAL '5' SECOND))) c ON a.k = c.k AND a.window_start = c.window_start AND a.window_end = c.window_end;
