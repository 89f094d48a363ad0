-- compare: set
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, 1 AS n FROM orders UNION ALL SELECT item, 2 FROM orders UNION SELECT user_id, 1 FROM orders;
