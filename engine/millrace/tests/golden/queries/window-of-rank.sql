-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW v AS SELECT item, qty, window_time AS ts2 FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start,window_end,item ORDER BY qty DESC, id) AS rn FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND))) WHERE rn <= 2;
SELECT item,window_start,window_end,COUNT(*) c,SUM(qty) s FROM TABLE(TUMBLE(TABLE v, DESCRIPTOR(ts2), INTERVAL '30' SECOND)) GROUP BY item,window_start,window_end;
