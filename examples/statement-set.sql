-- One input read once, two outputs: large orders of two shops together, and all that is wrong.
-- millrace run examples/statement-set.sql

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

CREATE TABLE returns (
  id BIGINT,
  customer STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 'examples/data/returns.csv',
  'format' = 'csv'
);

CREATE TABLE events (
  kind STRING,
  id BIGINT,
  customer STRING
) WITH (
  'connector' = 'print',
  'print-identifier' = 'events'
);

CREATE TABLE rejected (
  id BIGINT,
  reason STRING
) WITH (
  'connector' = 'print',
  'print-identifier' = 'rejected'
);

CREATE VIEW large_orders AS
SELECT id, customer FROM orders WHERE quantity * price > 100;

EXECUTE STATEMENT SET
BEGIN
  INSERT INTO events
  SELECT 'order', id, customer FROM large_orders
  UNION ALL
  SELECT 'return', id, customer FROM returns;

  INSERT INTO rejected
  SELECT id, CASE WHEN quantity <= 0 THEN 'no quantity' ELSE 'no price' END
  FROM orders
  WHERE quantity <= 0 OR price IS NULL;
END;
