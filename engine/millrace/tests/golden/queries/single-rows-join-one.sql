-- compare: table
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
SELECT c.id, MAX(n.n) AS m FROM changes c JOIN (SELECT customer, COUNT(*) AS n FROM changes GROUP BY customer) n ON c.customer = n.customer
GROUP BY c.id;
