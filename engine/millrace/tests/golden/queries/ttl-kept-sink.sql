-- compare: upserts by 1
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
CREATE TABLE written (
  customer STRING, id INT, amount DECIMAL(10, 2), PRIMARY KEY (customer) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${output}', 'format' = 'debezium-json');
INSERT INTO written SELECT customer, id, amount FROM changes;
