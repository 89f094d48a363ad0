-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, ts STRING,
  `at` AS TO_TIMESTAMP(ts), ahead AS TO_TIMESTAMP(CONCAT(SUBSTRING(ts FROM 1 FOR 18), '0')),
  WATERMARK FOR `at` AS ahead
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
SELECT item, window_end, COUNT(*) AS c, MAX(id) AS m FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(`at`), INTERVAL '10' SECOND)) GROUP BY item, window_start, window_end;
