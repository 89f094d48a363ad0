-- compare: upserts by 1
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
CREATE TABLE written (
  note STRING, id INT, amount DECIMAL(10, 2), PRIMARY KEY (note) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${output}', 'format' = 'debezium-json');
INSERT INTO written SELECT COALESCE(note, 'none'), id, amount FROM changes WHERE amount > 30;
