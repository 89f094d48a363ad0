-- The flights of 2013 from New York's airports: those that left late, with what became of the
-- delay. Kafka to Kafka, exactly-once. `make run` starts a broker, replays the year into topic
-- `flights` and runs this file; the job has no end of its own.

SET 'pipeline.name' = 'flights';
SET 'execution.checkpointing.interval' = '1 s';

CREATE TABLE flights (
  `year` INT, `month` INT, `day` INT,
  dep_time INT, sched_dep_time INT, dep_delay INT,
  arr_time INT, sched_arr_time INT, arr_delay INT,
  carrier STRING, flight INT, tailnum STRING,
  origin STRING, dest STRING,
  air_time INT, distance INT,
  `hour` INT, `minute` INT, time_hour TIMESTAMP_LTZ(3),
  -- The record's own time: when the flight was to leave.
  scheduled TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  -- Miles and minutes in the data.
  speed AS distance * 1.609344E0 / (air_time / 60E0),
  WATERMARK FOR scheduled AS scheduled - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'kafka',
  'topic' = 'flights',
  'properties.bootstrap.servers' = '127.0.0.1:19092',
  'properties.group.id' = 'flights',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TABLE delayed (
  flight STRING,
  route STRING,
  scheduled TIMESTAMP_LTZ(3),
  late_by INT,
  made_up INT,
  how_late STRING,
  kmh INT
) WITH (
  'connector' = 'kafka',
  'topic' = 'delayed',
  'properties.bootstrap.servers' = '127.0.0.1:19092',
  'properties.transaction.timeout.ms' = '600000',
  'key.format' = 'raw',
  'key.fields' = 'flight',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'flights'
);

INSERT INTO delayed
SELECT
  carrier || CAST(flight AS STRING),
  origin || '-' || dest,
  scheduled,
  dep_delay,
  dep_delay - arr_delay,
  CASE WHEN dep_delay > 180 THEN 'hours' WHEN dep_delay > 60 THEN 'an hour' ELSE 'minutes' END,
  CAST(ROUND(speed, 0) AS INT)
FROM flights
WHERE dep_delay > 15;
