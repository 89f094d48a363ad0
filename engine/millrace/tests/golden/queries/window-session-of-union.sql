-- compare: set
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW u AS SELECT item,COUNT(*) c,window_time AS ts FROM TABLE(SESSION(TABLE bids PARTITION BY item, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY item,window_start,window_end,window_time UNION ALL SELECT item,COUNT(*),window_time FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY item,window_start,window_end,window_time;
SELECT item,window_start,window_end,SUM(c) a,COUNT(*) c FROM TABLE(SESSION(TABLE u PARTITION BY item, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY item,window_start,window_end;
