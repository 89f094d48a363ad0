-- compare: changelog by 1, 2, 4, 5
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, item, COUNT(DISTINCT price), GROUPING(user_id), GROUPING(item) FROM orders GROUP BY ROLLUP (user_id, item);
