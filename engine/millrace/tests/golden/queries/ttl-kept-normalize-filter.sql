-- compare: changelog by 1
SET 'table.exec.state.ttl' = '1 h';
SET 'table.exec.source.cdc-events-duplicate' = 'true';
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/repeated.debezium', 'format' = 'debezium-json');
SELECT id, customer, amount FROM changes WHERE amount > 40 AND id > 2;
