-- compare: changelog by 1
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
SELECT customer, SUM(c) AS s FROM (SELECT customer, id, COUNT(*) AS c FROM changes GROUP BY customer, id)
WHERE id = 3 GROUP BY customer;
