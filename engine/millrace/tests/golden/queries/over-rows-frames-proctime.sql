-- compare: changelog by 1
CREATE TABLE events (
  id BIGINT, k STRING, g STRING, v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME()
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/events.json', 'format' = 'json');
SELECT k, id, SUM(v) OVER w, MIN(v) OVER w, AVG(d) OVER w, COUNT(DISTINCT g) OVER w, FIRST_VALUE(id) OVER w, LAST_VALUE(g) OVER w FROM events WINDOW w AS (PARTITION BY k ORDER BY p ROWS BETWEEN 3 PRECEDING AND CURRENT ROW);
