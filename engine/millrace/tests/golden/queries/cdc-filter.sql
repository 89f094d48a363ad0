-- compare: rows
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
SELECT id, UPPER(customer) AS customer, amount FROM changes WHERE amount > 40;
