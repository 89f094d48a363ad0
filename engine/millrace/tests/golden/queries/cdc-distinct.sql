-- compare: changelog by 1
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
SELECT DISTINCT customer FROM changes;
