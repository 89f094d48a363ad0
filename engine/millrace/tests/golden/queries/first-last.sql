-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, FIRST_VALUE(item), LAST_VALUE(item), FIRST_VALUE(amount), LAST_VALUE(amount), FIRST_VALUE(price), LAST_VALUE(price), FIRST_VALUE(amount > 2), LAST_VALUE(CAST(amount AS DOUBLE)), FIRST_VALUE(item) FILTER (WHERE amount < 3) FROM orders GROUP BY user_id;
