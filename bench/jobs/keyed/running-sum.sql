CREATE TABLE nothing (k INT, id BIGINT, total BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nothing
SELECT k, id, SUM(v) OVER (PARTITION BY k ORDER BY p) FROM source;
