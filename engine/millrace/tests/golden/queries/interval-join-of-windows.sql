-- compare: table
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW a AS SELECT item, COUNT(*) c, SUM(qty) q, window_start,window_end, window_time AS wt FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY item,window_start,window_end,window_time;
CREATE VIEW h AS SELECT item, COUNT(*) c, SUM(qty) q, window_start,window_end, window_time AS wt FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY item,window_start,window_end,window_time;
SELECT a.item,a.c,a.wt,h.item i2,h.c c2,CAST(h.wt AS TIMESTAMP(3)) w2 FROM a LEFT JOIN h ON a.item = h.item AND a.wt BETWEEN h.wt - INTERVAL '10' SECOND AND h.wt + INTERVAL '20' SECOND;
