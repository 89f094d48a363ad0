SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '5000';

CREATE TABLE nothing (k INT, n BIGINT, total BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nothing SELECT k, COUNT(*), SUM(v) FROM source GROUP BY k;
