-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, SUM(s) AS s, MIN(m) AS m, MAX(c) AS c FROM (SELECT user_id, SUM(amount) AS s, MIN(price) AS m, COUNT(*) AS c FROM orders GROUP BY user_id) GROUP BY user_id;
