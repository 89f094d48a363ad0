-- compare: changelog by 1
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
SELECT customer, SUM(amount) AS total FROM changes WHERE id <> 3 GROUP BY customer HAVING SUM(amount) > 100;
