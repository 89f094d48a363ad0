-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, SUM(c) AS s FROM (SELECT user_id, item, COUNT(*) AS c FROM orders GROUP BY user_id, item)
WHERE item = 'pen' GROUP BY user_id;
