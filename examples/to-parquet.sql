-- Generated sensor readings to Parquet files, for other tools to read.
-- millrace run examples/to-parquet.sql && ls .run/readings

SET 'parallelism.default' = '2';

CREATE TABLE readings (
  sensor INT,
  celsius DOUBLE,
  sequence_number BIGINT
) WITH (
  'connector' = 'datagen',
  'number-of-rows' = '5000',
  'fields.sensor.min' = '1',
  'fields.sensor.max' = '20',
  'fields.celsius.min' = '-20',
  'fields.celsius.max' = '45',
  'fields.sequence_number.kind' = 'sequence',
  'fields.sequence_number.start' = '1',
  'fields.sequence_number.end' = '5000'
);

CREATE TABLE readings_parquet (
  sensor INT,
  fahrenheit DOUBLE,
  frost BOOLEAN,
  sequence_number BIGINT
) WITH (
  'connector' = 'filesystem',
  'path' = '.run/readings',
  'format' = 'parquet'
);

INSERT INTO readings_parquet
SELECT sensor, celsius * 1.8E0 + 32E0, celsius < 0E0, sequence_number FROM readings;
