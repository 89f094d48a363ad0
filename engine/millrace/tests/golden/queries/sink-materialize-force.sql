-- compare: upserts by 1
SET 'table.exec.sink.upsert-materialize' = 'FORCE';
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
CREATE TABLE written (
  id INT, customer STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${output}', 'format' = 'debezium-json');
INSERT INTO written SELECT id, customer FROM changes;
