-- compare: changelog by 1 per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW a AS SELECT item, id, window_time AS wt FROM TABLE(SESSION(TABLE bids PARTITION BY item, DESCRIPTOR(ts), INTERVAL '3' SECOND));
SELECT item,id,COUNT(id) OVER (PARTITION BY item ORDER BY wt ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) s,wt FROM a;
