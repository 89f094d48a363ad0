-- compare: set
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
CREATE TABLE notes (
  nr BIGINT, k STRING, g STRING, w SMALLINT, `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '90' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/notes.json', 'format' = 'json');
SELECT id,k,window_start,window_end FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start,window_end,k ORDER BY v DESC, id) AS rn FROM (SELECT id,k,v,window_start,window_end FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND)) UNION ALL SELECT nr,k,CAST(w AS INT),window_start,window_end FROM TABLE(TUMBLE(TABLE notes, DESCRIPTOR(`at`), INTERVAL '5' SECOND)))) WHERE rn <= 2;
