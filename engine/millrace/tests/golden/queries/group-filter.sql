-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT item, COUNT(*) FILTER (WHERE amount > 2) AS many, SUM(price) FILTER (WHERE user_id = 'ann') AS anns FROM orders GROUP BY item;
