-- compare: table
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
SELECT a.customer, COUNT(*) AS n, SUM(b.amount) AS s FROM changes a JOIN changes b ON a.customer = b.customer GROUP BY a.customer;
