-- Ten rows that a generator makes, printed. Needs nothing: millrace run examples/hello.sql

CREATE TABLE numbers (
  n BIGINT,
  squared AS n * n
) WITH (
  'connector' = 'datagen',
  'fields.n.kind' = 'sequence',
  'fields.n.start' = '1',
  'fields.n.end' = '10'
);

CREATE TABLE greetings (
  text STRING
) WITH (
  'connector' = 'print'
);

INSERT INTO greetings
SELECT 'hello, ' || CAST(n AS STRING) || ' squared is ' || CAST(squared AS STRING) FROM numbers;
