-- compare: changelog by 1
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SELECT user_id, STDDEV_POP(d), STDDEV_SAMP(d), VAR_POP(d), VAR_SAMP(d), VAR_POP(f), STDDEV_SAMP(b), VAR_SAMP(s) FROM (SELECT user_id, CAST(price AS DOUBLE) AS d, CAST(price AS FLOAT) AS f, id * 10 AS b, CAST(amount AS SMALLINT) AS s FROM orders) GROUP BY user_id;
