-- compare: changelog by 1, 2
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT amount > 2 AS big, UPPER(item) AS i, COUNT(*) FROM orders WHERE amount IS NOT NULL AND item IS NOT NULL GROUP BY CUBE (amount > 2, UPPER(item)) HAVING COUNT(*) > 1;
