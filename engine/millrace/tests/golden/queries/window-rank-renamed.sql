-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
SELECT id,item,ws FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY ws,we ORDER BY qty DESC,id) AS rn FROM (SELECT id,item,qty,window_start ws,window_end we FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '20' SECOND)))) WHERE rn <= 2;
