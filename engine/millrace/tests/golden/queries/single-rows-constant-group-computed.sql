-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3)
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, SUM(c) AS s FROM (SELECT user_id, n, COUNT(*) AS c FROM (SELECT user_id, CHAR_LENGTH(COALESCE(item, 'paper')) AS n FROM orders) GROUP BY user_id, n)
WHERE n = 3 GROUP BY user_id;
