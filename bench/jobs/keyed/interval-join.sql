CREATE TABLE nothing (a BIGINT, b BIGINT, k INT) WITH ('connector' = 'blackhole');

INSERT INTO nothing
SELECT a.id, b.id, a.k
FROM source AS a
JOIN (SELECT * FROM source WHERE MOD(id, 10) = 0) AS b
  ON a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '1' SECOND AND b.ts + INTERVAL '1' SECOND;
