-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
SELECT item, COUNT(*) AS c, COUNT(qty) AS cq, SUM(qty) AS s, AVG(price) AS a, MIN(price) AS mi, MAX(bidder) AS ma, window_start, window_end, window_time FROM TABLE(SESSION(TABLE bids PARTITION BY item, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY item, window_start, window_end, window_time;
