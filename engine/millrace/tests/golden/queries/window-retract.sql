-- compare: set per watermark at parallelism 1
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW per_bidder AS SELECT * FROM (SELECT *, qty AS s, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY ts DESC) AS rn FROM bids) WHERE rn = 1;
SELECT window_start, window_end, COUNT(*) AS c, SUM(s) AS total FROM TABLE(TUMBLE(TABLE per_bidder, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
