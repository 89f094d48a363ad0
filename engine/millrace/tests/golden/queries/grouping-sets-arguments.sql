-- compare: changelog by 1, 2, 6
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT item, user_id, COUNT(item), MAX(user_id), LISTAGG(item), GROUPING_ID(item, user_id) FROM orders GROUP BY GROUPING SETS ((item), (user_id));
