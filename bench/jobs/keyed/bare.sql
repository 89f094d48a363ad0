-- The generator alone, without what the jobs compute of its rows.
CREATE TABLE plain (id BIGINT) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '1000000000',
  'fields.id.kind' = 'sequence',
  'fields.id.start' = '1',
  'fields.id.end' = '${rows}'
);

CREATE TABLE nothing (id BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nothing SELECT id FROM plain;
