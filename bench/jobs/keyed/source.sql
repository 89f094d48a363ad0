-- Rows of a generator, the same for both engines, in a keyed job into nothing. ${...} is filled in by the
-- benchmark. Keys are spread as at random; event time goes on by a millisecond a row, so that a window of
-- 10 s holds 10,000 rows, of 63% as many keys.
SET 'pipeline.name' = '${name}';
SET 'pipeline.object-reuse' = 'true';
SET 'parallelism.default' = '2';
SET 'state.backend.type' = 'rocksdb';
SET 'execution.checkpointing.interval' = '1 s';
SET 'execution.checkpointing.incremental' = 'true';
SET 'execution.checkpointing.dir' = '${checkpoints}';

CREATE TABLE source (
  id BIGINT,
  k  AS CAST(MOD(ABS((id * 6364136223846793005 + 1442695040888963407) / 65536), 10000) AS INT),
  v  AS MOD(id, 1000),
  ts AS TO_TIMESTAMP_LTZ(id, 3),
  p  AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '1000000000',
  'fields.id.kind' = 'sequence',
  'fields.id.start' = '1',
  'fields.id.end' = '${rows}'
);
