-- A folder of CSV files to a folder of JSON files, rows that make no sense left out.
-- millrace run examples/csv-to-json.sql && cat .run/orders-json/*

CREATE TABLE orders (
  id BIGINT,
  customer STRING,
  product STRING,
  quantity INT,
  price DECIMAL(10, 2),
  ordered_at TIMESTAMP(3)
) WITH (
  'connector' = 'filesystem',
  'path' = 'examples/data/orders',
  'format' = 'csv',
  'csv.null-literal' = ''
);

CREATE TABLE orders_json (
  id BIGINT,
  customer STRING,
  product STRING,
  total DECIMAL(20, 2),
  ordered_on DATE
) WITH (
  'connector' = 'filesystem',
  'path' = '.run/orders-json',
  'format' = 'json',
  'json.encode.decimal-as-plain-number' = 'true'
);

INSERT INTO orders_json
SELECT id, UPPER(customer), product, CAST(quantity * price AS DECIMAL(20, 2)), CAST(ordered_at AS DATE)
FROM orders
WHERE quantity > 0 AND price IS NOT NULL;
