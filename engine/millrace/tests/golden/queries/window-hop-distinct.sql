-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
SELECT item, COUNT(DISTINCT bidder) AS db, COUNT(DISTINCT qty) AS dq, MAX(DISTINCT price) AS mp, COUNT(*) AS c, window_end FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) GROUP BY item, window_start, window_end;
