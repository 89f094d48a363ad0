-- compare: table
CREATE TABLE changes (
  id INT, customer STRING, amount DECIMAL(10, 2), note STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
CREATE TABLE names (
  id INT, customer STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/changes.debezium', 'format' = 'debezium-json');
SELECT n.id, COUNT(*) AS c, MAX(c.customer) AS m FROM changes c JOIN names n ON c.id + 1 = n.id GROUP BY n.id;
