//! Plans, as EXPLAIN prints them: one golden a rule at least.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use millrace_dataflow::Operator;

use crate::fixtures::{graph, jobs, plan, session, text, with_tables};

#[test]
fn filter_and_projection_are_one_calc_over_the_columns_that_are_used() {
    assert_snapshot!(plan("INSERT INTO late SELECT carrier, delay + 1 FROM flights WHERE delay > 15 AND origin <> 'JFK'"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[carrier, (delay + 1) AS delay], where=[((delay > 15) AND (origin <> 'JFK'))])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, origin, delay], metadata=[]]], fields=[carrier, origin, delay])
"#);
}

#[test]
fn a_plain_copy_has_no_calc() {
    assert_snapshot!(plan("INSERT INTO late SELECT carrier, delay FROM flights"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])
"#);
}

#[test]
fn subqueries_views_and_with_are_merged() {
    assert_snapshot!(plan("
        CREATE VIEW v AS SELECT carrier, delay * 2 AS twice, origin FROM flights WHERE delay > 0;
        INSERT INTO late
        WITH w AS (SELECT carrier AS c, twice FROM v WHERE origin = 'EWR')
        SELECT c, x.t FROM (SELECT c, twice + 1 AS t FROM w WHERE twice < 100) AS x WHERE x.t <> 7"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[carrier, ((delay * 2) + 1) AS delay], where=[((delay > 0) AND (origin = 'EWR') AND ((delay * 2) < 100) AND (((delay * 2) + 1) <> 7))])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, origin, delay], metadata=[]]], fields=[carrier, origin, delay])
"#);
}

#[test]
fn what_differs_when_repeated_is_not_merged() {
    assert_snapshot!(plan("INSERT INTO late SELECT a, CAST(b AS INT) FROM (SELECT carrier AS a, RAND() AS b FROM flights) WHERE b > 0.5E0"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[a AS carrier, CAST(b AS INT) AS delay], where=[(b > 5E-1)])
   +- Calc(select=[carrier AS a, RAND() AS b])
      +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier], metadata=[]]], fields=[carrier])
"#);
}

#[test]
fn expressions_do_not_grow_out_of_proportion() {
    let mut query = "SELECT carrier, delay AS d FROM flights".to_owned();
    for _ in 0..30 {
        query = format!("SELECT carrier, d + d AS d FROM ({query})");
    }
    let mut session = with_tables();
    let graph = graph(&mut session, &format!("INSERT INTO late {query}"));
    let text = millrace_dataflow::explain::explain(&graph);
    assert!(text.len() < 20_000, "{} bytes", text.len());
}

#[test]
fn union_all_casts_each_branch_to_the_common_type() {
    assert_snapshot!(plan("
        INSERT INTO late
        SELECT carrier, CAST(delay AS SMALLINT) FROM flights WHERE delay > 0
        UNION ALL SELECT origin, delay FROM flights
        UNION ALL VALUES ('x', 1), ('long', 2)"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Union(all=[true], union=[carrier, EXPR$1])
   :- Calc(select=[carrier, CAST(CAST(delay AS SMALLINT) AS INT) AS EXPR$1], where=[(delay > 0)])
   :  +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, origin, delay], metadata=[]]], fields=[carrier, origin, delay])(reuse_id=[1])
   :- Calc(select=[origin, delay])
   :  +- Reused(reference_id=[1])
   +- Calc(select=[CAST(EXPR$0 AS STRING) AS carrier, EXPR$1])
      +- Values(tuples=[[{ CAST('x' AS VARCHAR(4)), 1 }, { CAST('long' AS VARCHAR(4)), 2 }]], values=[EXPR$0, EXPR$1])
"#);
}

#[test]
fn the_same_stream_twice_goes_through_a_calc_once() {
    assert_snapshot!(plan("INSERT INTO late SELECT carrier, delay FROM flights UNION ALL SELECT carrier, delay FROM flights"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Union(all=[true], union=[carrier, delay])
   :- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])(reuse_id=[1])
   +- Calc(select=[carrier, delay])
      +- Reused(reference_id=[1])
"#);
}

#[test]
fn constant_filters() {
    assert_snapshot!(plan("INSERT INTO late SELECT carrier, delay FROM flights WHERE 1 = 1 AND delay > 0 AND TRUE"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[carrier, delay], where=[(delay > 0)])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])
"#);
    assert_snapshot!(plan("INSERT INTO late SELECT carrier, delay FROM flights WHERE 1 > 2 OR FALSE"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Values(tuples=[[]], values=[carrier, delay])
"#);
    assert_snapshot!(plan("
        INSERT INTO late SELECT carrier, delay FROM flights WHERE NULL
        UNION ALL SELECT carrier, delay FROM flights WHERE delay > 0"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[carrier, delay], where=[(delay > 0)])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])
"#);
}

#[test]
fn values_and_a_select_without_from() {
    assert_snapshot!(plan("INSERT INTO late VALUES ('AA', 1), ('UA', NULL)"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[CAST(EXPR$0 AS STRING) AS carrier, EXPR$1 AS delay])
   +- Values(tuples=[[{ 'AA', 1 }, { 'UA', null:INT }]], values=[EXPR$0, EXPR$1])
"#);
    assert_snapshot!(plan("INSERT INTO late SELECT 'AA', 1"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[CAST('AA' AS STRING) AS carrier, 1 AS delay])
   +- Values(tuples=[[{ 0 }]], values=[ZERO])
"#);
    assert_snapshot!(plan("INSERT INTO late (delay) VALUES (1), (-2)"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[null:STRING AS carrier, EXPR$0 AS delay])
   +- Values(tuples=[[{ 1 }, { -2 }]], values=[EXPR$0])
"#);
}

#[test]
fn only_the_number_of_rows_counts() {
    assert_snapshot!(plan("INSERT INTO late SELECT 'x', 1 FROM flights"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[CAST('x' AS STRING) AS carrier, 1 AS delay])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[id], metadata=[]]], fields=[id])
"#);
}

#[test]
fn computed_and_metadata_columns_and_a_watermark_on_a_physical_one() {
    assert_snapshot!(plan("
        CREATE TABLE s (
          a INT, b STRING, ts TIMESTAMP(3),
          twice AS a * 2,
          written TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
          `offset` INT METADATA VIRTUAL,
          WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
        ) WITH ('connector' = 'test', 'topic' = 's');
        INSERT INTO late SELECT b, twice + `offset` FROM s WHERE twice > 4"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[b AS carrier, ((a * 2) + CAST($metadata.offset AS INT)) AS delay], where=[((a * 2) > 4)])
   +- WatermarkAssigner(rowtime=[ts], watermark=[(ts - 5000:INTERVAL SECOND)])
      +- TableSourceScan(table=[[default_catalog, default_database, s, project=[a, b, ts], metadata=[offset]]], fields=[a, b, ts, $metadata.offset])
"#);
}

#[test]
fn a_watermark_on_metadata_stands_directly_behind_the_source() {
    assert_snapshot!(plan("
        CREATE TABLE s (
          a INT, speed AS a * 2,
          at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
          WATERMARK FOR at AS at - INTERVAL '1' MINUTE
        ) WITH ('connector' = 'test', 'topic' = 's');
        INSERT INTO late SELECT 'x', speed FROM s"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[CAST('x' AS STRING) AS carrier, (a * 2) AS delay])
   +- WatermarkAssigner(rowtime=[$metadata.timestamp], watermark=[($metadata.timestamp - 60000:INTERVAL SECOND)])
      +- TableSourceScan(table=[[default_catalog, default_database, s, project=[a], metadata=[timestamp]]], fields=[a, $metadata.timestamp])
"#);
}

#[test]
fn a_watermark_on_a_computed_column_stands_behind_the_calc_that_adds_it() {
    assert_snapshot!(plan("
        CREATE TABLE s (
          a INT, seconds BIGINT,
          ts AS CAST(TO_TIMESTAMP_LTZ(seconds, 3) AS TIMESTAMP_LTZ(3)),
          b AS a + 1,
          WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
        ) WITH ('connector' = 'test', 'topic' = 's');
        INSERT INTO late SELECT 'x', b FROM s"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[CAST('x' AS STRING) AS carrier, (a + 1) AS delay])
   +- WatermarkAssigner(rowtime=[ts], watermark=[(ts - 5000:INTERVAL SECOND)])
      +- Calc(select=[a, seconds, TO_TIMESTAMP_LTZ(seconds, 3) AS ts])
         +- TableSourceScan(table=[[default_catalog, default_database, s]], fields=[a, seconds])
"#);
}

#[test]
fn a_statement_set_reads_a_source_once() {
    assert_snapshot!(plan("
        CREATE TABLE s (a INT, b STRING, c INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
          WITH ('connector' = 'test', 'topic' = 's');
        CREATE TABLE other (b STRING, c INT) WITH ('connector' = 'test', 'topic' = 'o');
        EXECUTE STATEMENT SET BEGIN
          INSERT INTO late SELECT b, a FROM s WHERE a > 1;
          INSERT INTO other SELECT b, c FROM s;
        END"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[b AS carrier, a AS delay], where=[(a > 1)])
   +- WatermarkAssigner(rowtime=[ts], watermark=[ts])(reuse_id=[1])
      +- TableSourceScan(table=[[default_catalog, default_database, s]], fields=[a, b, c, ts])

Sink(table=[default_catalog.default_database.other], fields=[b, c])
+- Calc(select=[b, c])
   +- Reused(reference_id=[1])
"#);
}

#[test]
fn other_options_are_another_source() {
    let mut session = with_tables();
    let graph = graph(
        &mut session,
        "BEGIN STATEMENT SET;
         INSERT INTO late SELECT carrier, delay FROM flights;
         INSERT INTO late SELECT carrier, delay FROM flights /*+ OPTIONS('mode' = 'few', 'scan.parallelism' = '3') */ AS f;
         INSERT INTO late SELECT carrier, delay FROM flights WHERE delay > 1;
         END;",
    );
    let sources: Vec<_> = graph
        .nodes
        .iter()
        .filter_map(|n| match &n.operator {
            Operator::Source(s) => Some((
                n.uid.as_str(),
                s.table.options.get("mode").map(String::as_str),
                n.parallelism,
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        sources,
        [
            ("source:flights", None, None),
            ("source:flights:ceec674c", Some("few"), Some(3))
        ]
    );
}

/// The uids of the operators with state, each with the rest of EXPLAIN that says what it is.
fn uids(statements: &[&str]) -> BTreeMap<String, String> {
    let mut session = with_tables();
    let graph = graph(
        &mut session,
        &format!("BEGIN STATEMENT SET; {}; END", statements.join("; ")),
    );
    let with_state = |o: &Operator| {
        matches!(
            o,
            Operator::Source(_) | Operator::Sink(_) | Operator::Values { .. }
        )
    };
    let about = |node: &millrace_dataflow::Node| match &node.operator {
        Operator::Source(s) => format!("{:?}", s.table.options),
        Operator::Sink(_) => {
            // The columns, the filters and the rows that come in; not which columns a source reads.
            let mut input = &graph.nodes[node.inputs[0].from];
            let mut about = String::new();
            while !matches!(input.operator, Operator::Source(_)) {
                about.push_str(&millrace_dataflow::explain::describe(&graph, input));
                match input.inputs.first() {
                    Some(edge) => input = &graph.nodes[edge.from],
                    None => return about,
                }
            }
            format!(
                "{} {}",
                input.uid,
                about.replace("Calc(select=[carrier, delay])", "")
            )
        }
        _ => millrace_dataflow::explain::describe(&graph, node),
    };
    let nodes = graph.nodes.iter().filter(|n| with_state(&n.operator));
    let uids: BTreeMap<_, _> = nodes.map(|n| (n.uid.clone(), about(n))).collect();
    let count = graph.nodes.iter().filter(|n| with_state(&n.operator)).count();
    assert_eq!(uids.len(), count, "uids are distinct");
    uids
}

#[test]
fn statements_that_go_or_change_places_leave_others_their_uids() {
    const ALL: &[&str] = &[
        "INSERT INTO late SELECT carrier, delay FROM flights /*+ OPTIONS('mode' = 'few') */",
        "INSERT INTO late SELECT carrier, delay FROM flights",
        "INSERT INTO late SELECT carrier, delay FROM flights /*+ OPTIONS('mode' = 'more') */",
        "INSERT INTO late SELECT origin, delay FROM flights WHERE delay > 1",
        "INSERT INTO late VALUES ('a', 1) UNION ALL SELECT * FROM (VALUES ('b', 2))",
        "INSERT INTO late VALUES ('c', 3)",
    ];
    let all = uids(ALL);
    let reversed: Vec<&str> = ALL.iter().rev().copied().collect();
    assert_eq!(uids(&reversed), all);
    for left_out in 0..ALL.len() {
        let mut fewer = ALL.to_vec();
        fewer.remove(left_out);
        for (uid, about) in uids(&fewer) {
            // Nobody goes on from another one's state: a uid is the same operator's or new.
            assert_eq!(
                all.get(&uid).unwrap_or(&about),
                &about,
                "{uid} without {left_out}"
            );
        }
    }
    assert!(all.contains_key("source:flights"), "{all:?}");
    let alone = uids(&ALL[..1]);
    assert!(
        alone.contains_key("sink:late") && !alone.contains_key("source:flights"),
        "{alone:?}"
    );
}

#[test]
fn names_and_uids() {
    let mut session = with_tables();
    let graph = graph(
        &mut session,
        "INSERT INTO late SELECT carrier, delay FROM flights WHERE delay > 1",
    );
    let names: Vec<_> = graph
        .nodes
        .iter()
        .map(|n| (n.name.as_str(), n.uid.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("Source: flights[1]", "source:flights"),
            ("Calc[2]", "calc:late"),
            ("Sink: late[3]", "sink:late")
        ]
    );
}

#[test]
fn nulls_for_a_not_null_column_are_guarded() {
    assert_snapshot!(plan("
        CREATE TABLE strict (id BIGINT NOT NULL, carrier STRING NOT NULL, delay INT) WITH ('connector' = 'test', 'topic' = 'x');
        INSERT INTO strict SELECT id, carrier, delay FROM flights"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.strict], fields=[id, carrier, delay])
+- ConstraintEnforcer(notNull=[carrier], enforcer=[ERROR])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[id, carrier, delay], metadata=[]]], fields=[id, carrier, delay])
"#);
    assert_snapshot!(plan("
        SET 'table.exec.sink.not-null-enforcer' = 'DROP';
        CREATE TABLE strict (a INT, id INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'test', 'topic' = 'x');
        INSERT INTO strict SELECT delay, delay FROM flights"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.strict], fields=[a, id])
+- ConstraintEnforcer(notNull=[id], enforcer=[DROP])
   +- Calc(select=[delay AS a, delay AS id])
      +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[delay], metadata=[]]], fields=[delay])
"#);
    assert_snapshot!(plan("
        CREATE TABLE strict (id BIGINT NOT NULL, carrier STRING NOT NULL) WITH ('connector' = 'test', 'topic' = 'x');
        INSERT INTO strict SELECT id, 'x' FROM flights"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.strict], fields=[id, carrier])
+- Calc(select=[id, CAST('x' AS STRING) AS carrier])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[id], metadata=[]]], fields=[id])
"#);
}

#[test]
fn a_sink_with_metadata_and_computed_columns() {
    assert_snapshot!(plan("
        CREATE TABLE out (
          a STRING,
          twice AS b * 2,
          ts TIMESTAMP(3) METADATA FROM 'timestamp',
          `offset` BIGINT METADATA VIRTUAL,
          b BIGINT
        ) WITH ('connector' = 'test', 'topic' = 'x', 'sink.parallelism' = '2');
        INSERT INTO out SELECT carrier, at, delay FROM flights"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.out], fields=[a, b, ts])
+- ConstraintEnforcer(notNull=[$metadata.timestamp], enforcer=[ERROR])
   +- Calc(select=[carrier AS a, CAST(delay AS BIGINT) AS b, CAST(at AS TIMESTAMP_LTZ(3)) AS $metadata.timestamp])
      +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay, at], metadata=[]]], fields=[carrier, delay, at])
"#);
}

#[test]
fn columns_by_name() {
    assert_snapshot!(plan("INSERT INTO late (delay, carrier) SELECT delay, carrier FROM flights"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])
"#);
    assert_snapshot!(plan("INSERT INTO late (delay) SELECT delay FROM flights"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[null:STRING AS carrier, delay])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[delay], metadata=[]]], fields=[delay])
"#);
}

#[test]
fn details_of_explain() {
    assert_snapshot!(plan("EXPLAIN CHANGELOG_MODE INSERT INTO late SELECT carrier, delay FROM flights WHERE delay > 1"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay], changelogMode=[NONE])
+- Calc(select=[carrier, delay], where=[(delay > 1)], changelogMode=[I])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay], changelogMode=[I])
"#);
    assert_snapshot!(plan("EXPLAIN SELECT carrier FROM flights"), @r#"
== Optimized Execution Plan ==
TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier], metadata=[]]], fields=[carrier])
"#);
    assert_snapshot!(plan("
        EXPLAIN STATEMENT SET BEGIN
          INSERT INTO late SELECT carrier, delay FROM flights;
          INSERT INTO late SELECT origin, delay FROM flights;
        END"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[carrier, delay])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, origin, delay], metadata=[]]], fields=[carrier, origin, delay])(reuse_id=[1])

Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[origin AS carrier, delay])
   +- Reused(reference_id=[1])
"#);
    assert_snapshot!(plan("EXPLAIN JSON_EXECUTION_PLAN INSERT INTO late VALUES ('a', 1)"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[CAST(EXPR$0 AS STRING) AS carrier, EXPR$1 AS delay])
   +- Values(tuples=[[{ 'a', 1 }]], values=[EXPR$0, EXPR$1])

== Physical Execution Plan ==
{
  "nodes": [
    {
      "contents": "Values(tuples=[[{ 'a', 1 }]], values=[EXPR$0, EXPR$1])",
      "id": 1,
      "pact": "Data Source",
      "parallelism": null,
      "predecessors": [],
      "type": "Source: Values[1]"
    },
    {
      "contents": "Calc(select=[CAST(EXPR$0 AS STRING) AS carrier, EXPR$1 AS delay])",
      "id": 2,
      "pact": "Operator",
      "parallelism": null,
      "predecessors": [
        {
          "id": 1,
          "ship_strategy": "FORWARD",
          "side": "second"
        }
      ],
      "type": "Calc[2]"
    },
    {
      "contents": "Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])",
      "id": 3,
      "pact": "Data Sink",
      "parallelism": null,
      "predecessors": [
        {
          "id": 2,
          "ship_strategy": "FORWARD",
          "side": "second"
        }
      ],
      "type": "Sink: late[3]"
    }
  ]
}
"#);
}

#[test]
fn a_script_gives_a_job_for_each_insert() {
    let mut session = session();
    let jobs = jobs(
        &mut session,
        &format!(
            "{}
            SET 'pipeline.name' = 'first';
            INSERT INTO late SELECT carrier, delay FROM flights; -- one
            RESET 'pipeline.name';
            SET 'parallelism.default' = '3';
            INSERT INTO late /* two */ SELECT origin, delay FROM flights;",
            crate::fixtures::TABLES
        ),
    );
    let shown: Vec<_> = jobs
        .iter()
        .map(|j| {
            (
                j.name.as_deref(),
                j.config.raw("parallelism.default"),
                j.statements.as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                Some("first"),
                None,
                "INSERT INTO late SELECT carrier, delay FROM flights"
            ),
            (
                None,
                Some("3"),
                "INSERT INTO late /* two */ SELECT origin, delay FROM flights"
            ),
        ]
    );
}

#[test]
fn a_filter_on_row_numbers_is_a_top_n() {
    assert_snapshot!(text(&mut with_tables(), "
        EXPLAIN CHANGELOG_MODE SELECT carrier, delay FROM (
          SELECT *, ROW_NUMBER() OVER (PARTITION BY carrier ORDER BY delay DESC) AS rn FROM flights)
        WHERE rn <= 3 AND delay > 10"), @r#"
== Optimized Execution Plan ==
Calc(select=[carrier, delay], where=[(delay > 10)], changelogMode=[I,UB,UA,D])
+- Rank(strategy=[AppendFastStrategy], rankType=[ROW_NUMBER], rankRange=[rankStart=1, rankEnd=3], partitionBy=[carrier], orderBy=[delay DESC], select=[carrier, delay], changelogMode=[I,UB,UA,D])
   +- Exchange(distribution=[hash[carrier]], changelogMode=[I])
      +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay], changelogMode=[I])
"#);
}

/// A number that nobody reads makes updates of its own, which Flink sends.
#[test]
fn the_number_of_a_top_n_stays_below_another_one() {
    assert_snapshot!(text(&mut with_tables(), "
        EXPLAIN SELECT carrier, delay FROM (
          SELECT carrier, delay, ROW_NUMBER() OVER (PARTITION BY carrier ORDER BY delay) AS place FROM (
            SELECT carrier, delay FROM (
              SELECT *, ROW_NUMBER() OVER (PARTITION BY carrier ORDER BY id) AS rn FROM flights)
            WHERE rn <= 3))
        WHERE place <= 2"), @r#"
== Optimized Execution Plan ==
Calc(select=[carrier, delay])
+- Rank(strategy=[RetractStrategy], rankType=[ROW_NUMBER], rankRange=[rankStart=1, rankEnd=2], partitionBy=[carrier], orderBy=[delay ASC], select=[carrier, delay, w0$o0])
   +- Exchange(distribution=[hash[carrier]])
      +- Calc(select=[carrier, delay, w0$o0])
         +- Rank(strategy=[AppendFastStrategy], rankType=[ROW_NUMBER], rankRange=[rankStart=1, rankEnd=3], partitionBy=[carrier], orderBy=[id ASC], select=[id, carrier, delay, w0$o0])
            +- Exchange(distribution=[hash[carrier]])
               +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[id, carrier, delay], metadata=[]]], fields=[id, carrier, delay])
"#);
    assert_snapshot!(text(&mut with_tables(), "
        EXPLAIN SELECT carrier, delay FROM (
          SELECT carrier, delay, ROW_NUMBER() OVER (PARTITION BY carrier ORDER BY delay) AS place FROM (
            SELECT carrier, delay + 1 AS delay FROM (
              SELECT *, ROW_NUMBER() OVER (PARTITION BY carrier ORDER BY id) AS rn FROM flights)
            WHERE rn <= 3))
        WHERE place <= 2"), @r#"
== Optimized Execution Plan ==
Rank(strategy=[RetractStrategy], rankType=[ROW_NUMBER], rankRange=[rankStart=1, rankEnd=2], partitionBy=[carrier], orderBy=[delay ASC], select=[carrier, delay])
+- Exchange(distribution=[hash[carrier]])
   +- Calc(select=[carrier, (delay + 1) AS delay])
      +- Rank(strategy=[AppendFastStrategy], rankType=[ROW_NUMBER], rankRange=[rankStart=1, rankEnd=3], partitionBy=[carrier], orderBy=[id ASC], select=[id, carrier, delay])
         +- Exchange(distribution=[hash[carrier]])
            +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[id, carrier, delay], metadata=[]]], fields=[id, carrier, delay])
"#);
}

#[test]
fn the_latest_row_of_a_key_is_a_deduplication() {
    assert_snapshot!(text(&mut with_tables(), "
        EXPLAIN SELECT carrier, delay FROM (
          SELECT *, ROW_NUMBER() OVER (PARTITION BY carrier ORDER BY PROCTIME() DESC) AS rn FROM flights)
        WHERE rn = 1"), @r#"
== Optimized Execution Plan ==
Deduplicate(keep=[LastRow], key=[carrier], order=[PROCTIME], outputInsertOnly=[false])
+- Exchange(distribution=[hash[carrier]])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])
"#);
}

#[test]
fn functions_over_a_window_are_computed_before_the_select() {
    assert_snapshot!(plan("
        INSERT INTO late SELECT UPPER(carrier), SUM(delay + 1) OVER (PARTITION BY carrier ORDER BY p) + 5
        FROM (SELECT *, PROCTIME() AS p FROM flights)"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[UPPER(carrier) AS carrier, (w0$o0 + 5) AS delay])
   +- OverAggregate(partitionBy=[carrier], orderBy=[p ASC], window=[ RANG BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW], select=[carrier, p, $f10, SUM($f10) AS w0$o0])
      +- Exchange(distribution=[hash[carrier]])
         +- Calc(select=[carrier, PROCTIME() AS p, (delay + 1) AS $f10])
            +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])
"#);
}

#[test]
fn conditions_go_to_the_side_that_they_are_about() {
    assert_snapshot!(text(&mut with_tables(), "
        EXPLAIN CHANGELOG_MODE SELECT a.carrier, b.delay FROM flights a LEFT JOIN flights b
        ON a.id = b.id AND a.delay > 1 AND b.delay > 2 AND a.delay < b.delay
        WHERE a.carrier = 'UA'"), @r#"
== Optimized Execution Plan ==
Calc(select=[carrier, delay0 AS delay], changelogMode=[I,UB,UA,D])
+- Join(joinType=[LeftOuterJoin], where=[((id = id0) AND (delay > 1) AND (delay < delay0))], select=[id, carrier, delay, id0, delay0], leftInputSpec=[NoUniqueKey], rightInputSpec=[NoUniqueKey], changelogMode=[I,UB,UA,D])
   :- Exchange(distribution=[hash[id]], changelogMode=[I])
   :  +- Calc(select=[id, carrier, delay], where=[(carrier = 'UA')], changelogMode=[I])
   :     +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[id, carrier, delay], metadata=[]]], fields=[id, carrier, delay], changelogMode=[I])(reuse_id=[1])
   +- Exchange(distribution=[hash[id]], changelogMode=[I])
      +- Calc(select=[id, delay], where=[(delay > 2)], changelogMode=[I])
         +- Reused(reference_id=[1])
"#);
}

#[test]
fn an_outer_join_whose_nulls_do_not_pass_is_an_inner_one() {
    assert_snapshot!(plan("
        INSERT INTO late SELECT a.carrier, b.delay FROM flights a FULL JOIN flights b ON a.id = b.id
        WHERE a.delay > 1 AND b.delay > 2"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[carrier, delay])
   +- Join(joinType=[InnerJoin], where=[(id = id0)], select=[id, carrier, id0, delay], leftInputSpec=[NoUniqueKey], rightInputSpec=[NoUniqueKey])
      :- Exchange(distribution=[hash[id]])
      :  +- Calc(select=[id, carrier], where=[(delay > 1)])
      :     +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[id, carrier, delay], metadata=[]]], fields=[id, carrier, delay])(reuse_id=[1])
      +- Exchange(distribution=[hash[id]])
         +- Calc(select=[id, delay], where=[(delay > 2)])
            +- Reused(reference_id=[1])
"#);
}

#[test]
fn in_with_a_query_is_a_semi_join() {
    assert_snapshot!(plan("
        INSERT INTO late SELECT carrier, delay FROM flights
        WHERE id IN (SELECT id FROM flights WHERE delay > 9) AND delay > 3"), @r#"
== Optimized Execution Plan ==
Sink(table=[default_catalog.default_database.late], fields=[carrier, delay])
+- Calc(select=[carrier, delay])
   +- Join(joinType=[LeftSemiJoin], where=[(id = id0)], select=[id, carrier, delay], leftInputSpec=[NoUniqueKey], rightInputSpec=[NoUniqueKey])
      :- Exchange(distribution=[hash[id]])
      :  +- Calc(select=[id, carrier, delay], where=[(delay > 3)])
      :     +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[id, carrier, delay], metadata=[]]], fields=[id, carrier, delay])(reuse_id=[1])
      +- Exchange(distribution=[hash[id]])
         +- Calc(select=[id], where=[(delay > 9)])
            +- Reused(reference_id=[1])
"#);
}
