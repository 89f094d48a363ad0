CREATE TABLE nothing (id BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nothing SELECT id FROM source;
