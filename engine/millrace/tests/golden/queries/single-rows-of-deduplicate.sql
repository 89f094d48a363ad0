-- compare: changelog by 1 per watermark
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, MAX(amount) AS m FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY ts DESC) AS rn FROM orders
) WHERE rn = 1 GROUP BY user_id;
