-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT item, MAX(n), MIN(least), MAX(most), MIN(n), SUM(n), COUNT(*) FROM (SELECT item, user_id, COUNT(*) AS n, MIN(price) AS least, MAX(amount) AS most FROM orders GROUP BY item, user_id) GROUP BY item;
