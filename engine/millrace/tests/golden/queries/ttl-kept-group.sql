-- compare: changelog by 1
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, SUM(amount), AVG(amount), MIN(amount), MAX(amount), COUNT(amount), SUM(price), AVG(price), MIN(item), MAX(ts) FROM orders GROUP BY user_id;
