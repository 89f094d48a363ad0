CREATE TABLE nothing (k INT, window_start TIMESTAMP(3), n BIGINT, total BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nothing
SELECT k, window_start, COUNT(*), SUM(v)
FROM TABLE(TUMBLE(TABLE source, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY k, window_start, window_end;
