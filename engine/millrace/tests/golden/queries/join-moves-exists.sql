-- compare: changelog by 1
-- checkpoint after: 120
-- The notes are read before the tick 101, after a second: what comes then is the changes of one side.
CREATE TABLE notes (
  nr BIGINT, k STRING, g STRING, w SMALLINT, `at` TIMESTAMP(3)
) WITH ('connector' = 'filesystem', 'path' = '${inputs}/notes.json', 'format' = 'json');
CREATE TABLE ticks (
  t BIGINT, v AS MOD(t * 7, 5), k AS CAST(CASE MOD(t / 3, 5) WHEN 0 THEN 'a' WHEN 1 THEN 'b' WHEN 2 THEN 'c' WHEN 3 THEN 'x' END AS STRING)
) WITH (
  'connector' = 'datagen', 'rows-per-second' = '100',
  'fields.t.kind' = 'sequence', 'fields.t.start' = '1', 'fields.t.end' = '140'
);
CREATE VIEW moves AS SELECT v, LAST_VALUE(k) AS k, COUNT(*) AS c FROM ticks WHERE t > 100 GROUP BY v;
SELECT nr, k, w FROM notes n WHERE EXISTS (SELECT 1 FROM moves m WHERE m.k = n.k AND m.c > n.w);
