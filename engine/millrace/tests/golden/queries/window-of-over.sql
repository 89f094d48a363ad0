-- compare: set per watermark at parallelism 1
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW v AS SELECT item,id,SUM(qty) OVER (PARTITION BY item ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) s,ts FROM bids;
SELECT item,window_start,window_end,SUM(s) a,MAX(id) c FROM TABLE(TUMBLE(TABLE v, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY item,window_start,window_end;
