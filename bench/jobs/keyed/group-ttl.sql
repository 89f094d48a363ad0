SET 'table.exec.state.ttl' = '1 h';

CREATE TABLE nothing (k INT, n BIGINT, total BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nothing SELECT k, COUNT(*), SUM(v) FROM source GROUP BY k;
