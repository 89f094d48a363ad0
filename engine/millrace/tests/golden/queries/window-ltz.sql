-- compare: set per watermark
SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE readings (
  id BIGINT, sensor STRING, `value` INT, `at` TIMESTAMP_LTZ(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '1' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/readings.json', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT sensor, window_start, window_end, window_time, COUNT(*) AS c, SUM(`value`) AS s FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(`at`), INTERVAL '1' HOUR)) GROUP BY sensor, window_start, window_end, window_time;
