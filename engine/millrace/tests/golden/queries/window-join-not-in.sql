-- compare: set
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE notes (
  nr BIGINT, k STRING, g STRING, w SMALLINT, `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/notes.json', 'format' = 'json');
SELECT id,k,window_start FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND)) l WHERE l.k NOT IN (SELECT k FROM (SELECT * FROM TABLE(TUMBLE(TABLE notes, DESCRIPTOR(`at`), INTERVAL '5' SECOND))) r WHERE l.window_start = r.window_start AND l.window_end = r.window_end);
