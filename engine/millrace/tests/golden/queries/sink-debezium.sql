-- compare: rows
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
CREATE TABLE written (
  id INT, customer STRING, amount DECIMAL(10, 2)
) WITH ('connector' = 'filesystem', 'path' = '${output}', 'format' = 'debezium-json');
INSERT INTO written SELECT id, customer, amount FROM changes;
