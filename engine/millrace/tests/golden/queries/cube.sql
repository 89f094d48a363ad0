-- compare: changelog by 1, 2, 4
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT item, user_id, AVG(price), GROUPING_ID(item, user_id), SUM(amount) FILTER (WHERE amount > 1) FROM orders WHERE amount IS NOT NULL GROUP BY CUBE (item, user_id);
