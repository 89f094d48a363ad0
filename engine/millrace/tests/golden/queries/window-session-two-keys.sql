-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
SELECT item, bidder, COUNT(*) AS c, MIN(id) AS i, window_start, window_end FROM TABLE(SESSION(TABLE bids PARTITION BY (bidder, item), DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY bidder, item, window_start, window_end;
