-- compare: set
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE notes (
  nr BIGINT, k STRING, g STRING, w SMALLINT, `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/notes.json', 'format' = 'json');
CREATE VIEW j AS SELECT l.k AS k, l.id AS id, r.nr AS nr, l.window_start AS ws, l.window_end AS we, l.window_time AS wt FROM (SELECT k, COUNT(*) AS id, window_start, window_end, window_time FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY k, window_start, window_end, window_time) l JOIN (SELECT k, SUM(w) AS nr, window_start, window_end, window_time FROM TABLE(TUMBLE(TABLE notes, DESCRIPTOR(`at`), INTERVAL '5' SECOND)) GROUP BY k, window_start, window_end, window_time) r ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end;
SELECT window_start,window_end,SUM(id) FROM TABLE(TUMBLE(TABLE j, DESCRIPTOR(wt), INTERVAL '30' SECOND)) GROUP BY window_start,window_end;
