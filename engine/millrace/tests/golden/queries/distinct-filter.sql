-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, COUNT(DISTINCT item) FILTER (WHERE amount > 2), COUNT(DISTINCT item) FILTER (WHERE price > 2), COUNT(DISTINCT item), SUM(DISTINCT amount) FILTER (WHERE item = 'pen'), LISTAGG(DISTINCT item, '/') FILTER (WHERE amount <> 3) FROM orders GROUP BY user_id;
