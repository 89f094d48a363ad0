-- compare: changelog by 1, 2, 5
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, item, COUNT(*), SUM(amount), GROUPING_ID(user_id, item) AS g, GROUPING(item), MAX(price) FROM orders GROUP BY GROUPING SETS ((user_id, item), (user_id), ());
