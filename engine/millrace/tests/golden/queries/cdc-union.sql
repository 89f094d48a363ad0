-- compare: table
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
SELECT id, customer FROM changes WHERE amount > 40 UNION ALL SELECT id, note FROM changes;
