-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, LISTAGG(CAST(item AS VARCHAR(3))), FIRST_VALUE(CAST(item AS VARCHAR(3))), ARRAY_AGG(CAST(item AS VARCHAR(3))), MIN(CAST(item AS CHAR(3))) FROM orders GROUP BY user_id;
