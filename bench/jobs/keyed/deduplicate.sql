CREATE TABLE nothing (k INT, id BIGINT, v BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nothing
SELECT k, id, v
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS n FROM source)
WHERE n = 1;
