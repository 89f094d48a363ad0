-- compare: changelog by 1, 2, 4
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
CREATE TEMPORARY VIEW latest AS
SELECT user_id, LAST_VALUE(item) AS item, LAST_VALUE(amount) AS amount, LAST_VALUE(price) AS price, COUNT(*) AS n
FROM orders GROUP BY user_id;
SELECT item, n, MAX(amount), GROUPING_ID(item, n) FROM latest GROUP BY ROLLUP (item, n);
