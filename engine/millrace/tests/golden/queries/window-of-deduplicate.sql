-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
CREATE VIEW v AS SELECT item,id,qty,ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY ts) rn FROM bids) WHERE rn = 1;
SELECT item,window_start,window_end,COUNT(*) a,MAX(id) c FROM TABLE(TUMBLE(TABLE v, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY item,window_start,window_end;
