-- compare: set per watermark at parallelism 1
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW changes AS SELECT id, bidder AS customer, price AS amount, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY ts DESC) AS rn FROM bids) WHERE rn = 1;
SELECT window_start,window_end,SUM(id) c FROM TABLE(SESSION(TABLE changes, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY window_start,window_end;
