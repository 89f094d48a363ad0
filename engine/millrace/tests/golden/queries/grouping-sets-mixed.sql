-- compare: changelog by 1, 2, 3, 5
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT item, user_id, amount > 2, COUNT(*), GROUPING_ID(user_id, amount > 2) FROM orders GROUP BY item, ROLLUP (user_id, amount > 2);
