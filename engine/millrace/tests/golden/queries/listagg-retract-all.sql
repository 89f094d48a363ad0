-- compare: rows at parallelism 1 without mini-batches
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
CREATE TEMPORARY VIEW latest AS
SELECT user_id, LAST_VALUE(item) AS item, LAST_VALUE(amount) AS amount, LAST_VALUE(price) AS price, COUNT(*) AS n
FROM orders GROUP BY user_id;
SELECT LISTAGG(item), LISTAGG(user_id, '-'), COUNT(item) FROM latest;
