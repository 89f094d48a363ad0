-- compare: changelog by 2
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, item, amount, rn FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY item ORDER BY amount DESC) AS place FROM (
    SELECT user_id, item, amount, rn FROM (
      SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY amount DESC) AS rn FROM orders
    ) WHERE rn <= 2
  )
) WHERE place <= 2;
