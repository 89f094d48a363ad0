-- compare: table
SET 'table.exec.state.ttl' = '1 h';
CREATE TABLE orders (
  id BIGINT, user_id STRING, item STRING, amount INT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/orders.json', 'format' = 'json');
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '3';
SET 'table.optimizer.agg-phase-strategy' = 'TWO_PHASE';
SELECT user_id, COUNT(*), COUNT(amount), SUM(amount), AVG(amount), MIN(amount), MAX(item), SUM(price), AVG(price), MAX(ts), COUNT(*) FILTER (WHERE amount > 2), VAR_POP(price), MIN(amount > 2) FROM orders GROUP BY user_id;
