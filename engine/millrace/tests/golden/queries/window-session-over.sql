-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW sessions AS SELECT item, COUNT(*) AS c, window_time AS rt FROM TABLE(SESSION(TABLE bids PARTITION BY item, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY item, window_start, window_end, window_time;
SELECT window_start, window_end, SUM(c) AS total FROM TABLE(TUMBLE(TABLE sessions, DESCRIPTOR(rt), INTERVAL '30' SECOND)) GROUP BY window_start, window_end;
