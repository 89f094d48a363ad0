-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW v AS SELECT item, SUM(qty) q, window_time AS wt FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY item, window_start, window_end, window_time;
SELECT item, q, window_start, window_end, window_time FROM TABLE(SESSION(TABLE v PARTITION BY item, DESCRIPTOR(wt), INTERVAL '30' SECOND));
