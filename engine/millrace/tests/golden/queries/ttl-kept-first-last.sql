-- compare: changelog by 1 at parallelism 1 without mini-batches
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
CREATE TEMPORARY VIEW latest AS
SELECT user_id, LAST_VALUE(item) AS item, LAST_VALUE(amount) AS amount, LAST_VALUE(price) AS price, COUNT(*) AS n
FROM orders GROUP BY user_id;
SELECT n, FIRST_VALUE(item), LAST_VALUE(item), FIRST_VALUE(amount), LAST_VALUE(price), LAST_VALUE(user_id) FILTER (WHERE amount > 2) FROM latest GROUP BY n;
