-- compare: changelog by 2, 3 per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
SELECT id,window_start,window_end,rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start,window_end ORDER BY qty DESC, id) AS rn FROM TABLE(SESSION(TABLE bids PARTITION BY item, DESCRIPTOR(ts), INTERVAL '3' SECOND))) WHERE rn <= 2;
