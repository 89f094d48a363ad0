-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW per_ten AS SELECT item, bidder, SUM(qty) AS s, window_time AS rt FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY item, bidder, window_start, window_end, window_time;
SELECT item, window_start, window_end, SUM(s) AS total, COUNT(*) AS parts FROM TABLE(HOP(TABLE per_ten, DESCRIPTOR(rt), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY item, window_start, window_end;
