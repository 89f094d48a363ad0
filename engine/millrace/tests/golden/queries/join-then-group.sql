-- compare: table
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3)
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT a.user_id, COUNT(*) AS n, SUM(b.amount) AS s FROM orders a JOIN orders b ON a.user_id = b.user_id GROUP BY a.user_id;
