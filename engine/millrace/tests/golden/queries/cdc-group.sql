-- compare: changelog by 1
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
SELECT customer, COUNT(*) AS orders, SUM(amount) AS total, COUNT(note) AS notes FROM changes GROUP BY customer;
