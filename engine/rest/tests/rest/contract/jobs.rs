//! The jobs of the scenario, in SQL that both engines take.

/// Runs until it is stopped, in two vertices of two subtasks, with checkpoints.
pub const RUNS: &str = "\
SET 'pipeline.name' = 'runs';
SET 'parallelism.default' = '2';
SET 'execution.checkpointing.interval' = '500 ms';
CREATE TABLE orders (
  customer INT, amount INT, ordered_at AS LOCALTIMESTAMP,
  WATERMARK FOR ordered_at AS ordered_at - INTERVAL '1' SECOND
) WITH ('connector' = 'datagen', 'rows-per-second' = '200', 'fields.customer.min' = '1', 'fields.customer.max' = '9');
CREATE TABLE counts (customer INT, orders BIGINT, PRIMARY KEY (customer) NOT ENFORCED)
  WITH ('connector' = 'blackhole');
INSERT INTO counts SELECT customer, COUNT(*) FROM orders GROUP BY customer;
";

/// Reaches the end of its input.
pub const ENDS: &str = "\
SET 'pipeline.name' = 'ends';
CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1',
  'fields.n.end' = '100');
CREATE TABLE results (n INT) WITH ('connector' = 'blackhole');
INSERT INTO results SELECT n FROM numbers;
";

/// Fails, is restarted once, and fails for good.
pub const BREAKS: &str = "\
SET 'pipeline.name' = 'breaks';
SET 'restart-strategy.type' = 'fixed-delay';
SET 'restart-strategy.fixed-delay.attempts' = '1';
SET 'restart-strategy.fixed-delay.delay' = '100 ms';
CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen', 'rows-per-second' = '50', 'fields.n.kind' = 'sequence',
  'fields.n.start' = '1', 'fields.n.end' = '1000');
CREATE TABLE results (n INT) WITH ('connector' = 'blackhole');
INSERT INTO results SELECT 100 / (10 - n) FROM numbers;
";
