-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, JSON_ARRAYAGG(item), JSON_ARRAYAGG(amount NULL ON NULL), JSON_ARRAYAGG(price ABSENT ON NULL), JSON_OBJECTAGG(KEY CAST(id AS STRING) VALUE item) FROM orders GROUP BY user_id;
