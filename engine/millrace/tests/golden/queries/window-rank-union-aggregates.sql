-- compare: set
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
SELECT item,q,window_start,window_end FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start,window_end ORDER BY q DESC,item) AS rn FROM (SELECT item,SUM(qty) q,window_start,window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY item,window_start,window_end UNION ALL SELECT bidder,SUM(qty),window_start,window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY bidder,window_start,window_end)) WHERE rn <= 3;
