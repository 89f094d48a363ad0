-- compare: changelog by 1 per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
SELECT item, COUNT(*) AS windows, MAX(window_end) AS until FROM (SELECT item, bidder, window_start, window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY item, bidder, window_start, window_end) GROUP BY item;
