-- compare: upserts by 1
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
CREATE TABLE written (
  customer STRING, orders BIGINT, total DECIMAL(38, 2), PRIMARY KEY (customer) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${output}', 'format' = 'debezium-json');
INSERT INTO written SELECT customer, COUNT(*), SUM(amount) FROM changes GROUP BY customer;
