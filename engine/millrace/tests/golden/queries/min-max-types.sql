-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, MIN(amount > 2), MAX(amount > 2), MIN(CAST(ts AS DATE)), MAX(CAST(ts AS TIME)), MAX(CAST(ts AS TIMESTAMP_LTZ(3))), MIN(CAST(amount AS DOUBLE)), MAX(CAST(amount AS FLOAT)) FROM orders GROUP BY user_id;
