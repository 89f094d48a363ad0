-- compare: set per watermark
CREATE TABLE bids (
  id BIGINT, bidder STRING, item STRING, qty INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/bids.json', 'format' = 'json');
SELECT item, COUNT(DISTINCT bidder) AS db, SUM(DISTINCT qty) AS dq, COUNT(DISTINCT qty) FILTER (WHERE price > 2) AS dqf, FIRST_VALUE(id) AS f, LAST_VALUE(id) AS l, LISTAGG(bidder) AS la, STDDEV_POP(qty) AS sd, VAR_SAMP(price) AS v, window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY item, window_start, window_end;
