-- compare: changelog by 1
SET 'table.exec.source.cdc-events-duplicate' = 'true';
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/repeated.debezium', 'format' = 'debezium-json');
SELECT customer, COUNT(*) AS orders, SUM(amount) AS total FROM changes GROUP BY customer;
