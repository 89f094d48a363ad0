-- compare: set
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW a AS SELECT item, COUNT(*) c, SUM(qty) q, window_start,window_end, window_time AS wt FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY item,window_start,window_end,window_time;
CREATE VIEW f AS SELECT * FROM bids WHERE qty > 2;
CREATE VIEW b AS SELECT item, COUNT(*) c, SUM(qty) q, window_start,window_end, window_time AS wt FROM TABLE(TUMBLE(TABLE f, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY item,window_start,window_end,window_time;
SELECT a.item,a.c,b.item i2,b.c c2,a.window_start,b.window_start w2 FROM a FULL JOIN b ON a.c = b.c AND a.window_start=b.window_start AND a.window_end=b.window_end;
