//! The functions that Apache Flink 2.1.1 lists by SHOW FUNCTIONS (`functions/show-functions.txt`): each one gives
//! what Flink gives, over rows of which one has nulls only, or is refused by its name; docs/functions.md says
//! which. `functions/refresh` asks Flink.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use millrace_connector_api::Registry;
use millrace_connector_api::format::Payloads;
use millrace_dataflow::{Graph, Operator, TableSpec};
use millrace_expr::compile::{Evaluation, Program, Session as Zone};
use millrace_expr::{DataType, Expr, RowType, cast, function, text};
use millrace_sql::Session;
use sha2::{Digest, Sha256};

use crate::fixtures::{error, graph, session};

const LIST: &str = include_str!("functions/show-functions.txt");
const RESULTS: &str = include_str!("functions/functions.tsv");
const TABLE: &str = include_str!("functions/input.sql");
const INPUT: &str = include_str!("functions/input.json");
const DOCS: &str = include_str!("../../../../docs/functions.md");

/// What takes many rows, and words of queries: what SQL writes, and a golden query that has it.
const IN_QUERIES: &[(&str, &str, &str)] = &[
    ("ARRAY_AGG", "ARRAY_AGG(", "array-agg-nulls"),
    ("ASSIGNMENT", " => ", "window-rows-offset"),
    ("JSON_ARRAYAGG_ABSENT_ON_NULL", "JSON_ARRAYAGG(", "json-agg"),
    ("JSON_ARRAYAGG_NULL_ON_NULL", "NULL ON NULL", "json-agg"),
    ("JSON_OBJECTAGG_ABSENT_ON_NULL", "ABSENT ON NULL", "json-agg"),
    ("JSON_OBJECTAGG_NULL_ON_NULL", "JSON_OBJECTAGG(", "json-agg"),
    ("as", " AS ", "group-sums"),
    ("asc", " ASC", "deduplicate-first-proctime"),
    ("avg", "AVG(", "group-sums"),
    ("collect", "COLLECT(", "collect"),
    ("count", "COUNT(", "group-count"),
    ("desc", " DESC", "top-n"),
    ("end", "window_end", "window-tumble"),
    ("first_value", "FIRST_VALUE(", "first-last"),
    ("lag", "LAG(", "over-lag"),
    ("last_value", "LAST_VALUE(", "first-last"),
    ("listAgg", "LISTAGG(", "listagg"),
    ("max", "MAX(", "min-max-types"),
    ("min", "MIN(", "min-max-types"),
    ("over", " OVER ", "over-running"),
    ("rowtime", "window_time", "window-over-window"),
    ("start", "window_start", "window-tumble"),
    ("stddevPop", "STDDEV_POP(", "variance"),
    ("stddevSamp", "STDDEV_SAMP(", "variance"),
    ("sum", "SUM(", "group-sums"),
    ("varPop", "VAR_POP(", "variance"),
    ("varSamp", "VAR_SAMP(", "variance"),
];

/// What is refused, as somebody may write it.
const REFUSED: &[(&str, &str)] = &[
    (
        "AGG_DECIMAL_MINUS",
        "SELECT AGG_DECIMAL_MINUS(price, price) FROM flights",
    ),
    (
        "AGG_DECIMAL_PLUS",
        "SELECT AGG_DECIMAL_PLUS(price, price) FROM flights",
    ),
    ("CURRENT_WATERMARK", "SELECT CURRENT_WATERMARK(at) FROM flights"),
    ("DEFAULT", "SELECT `DEFAULT`() FROM flights"),
    (
        "HIVE_AGG_DECIMAL_PLUS",
        "SELECT HIVE_AGG_DECIMAL_PLUS(price, price) FROM flights",
    ),
    ("PARSE_JSON", "SELECT PARSE_JSON(carrier) FROM flights"),
    ("PERCENTILE", "SELECT PERCENTILE(delay, 0.5) FROM flights"),
    ("SOURCE_WATERMARK", "SELECT SOURCE_WATERMARK() FROM flights"),
    ("TRY_PARSE_JSON", "SELECT TRY_PARSE_JSON(carrier) FROM flights"),
    ("flatten", "SELECT flatten(plane) FROM flights"),
    ("lead", "SELECT LEAD(delay) OVER (ORDER BY at) FROM flights"),
    ("rangeTo", "SELECT rangeTo(id, delay) FROM flights"),
    ("reinterpretCast", "SELECT reinterpretCast(delay) FROM flights"),
    (
        "streamRecordTimestamp",
        "SELECT streamRecordTimestamp() FROM flights",
    ),
    ("sum0", "SELECT SUM0(delay) FROM flights"),
    ("withColumns", "SELECT withColumns(id, delay) FROM flights"),
    ("withoutColumns", "SELECT withoutColumns(id) FROM flights"),
];

/// The names of SHOW FUNCTIONS.
fn names() -> BTreeSet<&'static str> {
    let names: BTreeSet<_> = LIST.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(names.len(), 226);
    names
}

struct Line {
    name: &'static str,
    expression: &'static str,
    data_type: &'static str,
    values: Vec<&'static str>,
}

fn lines() -> Vec<Line> {
    let lines = RESULTS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.split('\t');
            let mut part = || parts.next().unwrap_or_else(|| panic!("too short: {line}"));
            Line {
                name: part(),
                expression: part(),
                data_type: part(),
                values: parts.collect(),
            }
        })
        .collect()
}

/// The table of `input.sql`, of a connector that the planner's tests have.
fn with_input() -> Session {
    let (columns, _) = TABLE.split_once("WITH (").unwrap();
    let mut session = session();
    let script = format!("{columns} WITH ('connector' = 'test', 'topic' = 't');");
    session.execute(&script).unwrap_or_else(|e| panic!("{e}"));
    session
}

/// The rows of `input.json`, of these columns.
fn rows(table: &TableSpec, projection: &[usize]) -> RecordBatch {
    let mut registry = Registry::default();
    millrace_formats::register(&mut registry);
    let fields = RowType::new(projection.iter().map(|i| table.columns[*i].clone()).collect());
    let table = TableSpec {
        options: BTreeMap::from([("json.timestamp-format.standard".to_owned(), "SQL".to_owned())]),
        columns: fields.fields.clone(),
        ..table.clone()
    };
    let format = registry.format("input", "json").unwrap();
    let mut payloads = Payloads::new();
    INPUT
        .lines()
        .for_each(|line| payloads.push(Some(line.as_bytes())));
    let mut decoder = format.decoder(&table, "json.", &fields).unwrap();
    let decoded = decoder.decode(&payloads).map_err(|e| e.error).unwrap();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(decoded.rows));
    RecordBatch::try_new_with_options(fields.to_arrow(), decoded.columns, &options).unwrap()
}

/// The expressions of a plan `SELECT x IS NULL`, up to that of x, and the rows that they are over.
fn planned(graph: Graph) -> (RecordBatch, Vec<Vec<Expr>>) {
    let mut batch = None;
    let mut calcs = Vec::new();
    for node in graph.nodes {
        match node.operator {
            Operator::Source(source) => batch = Some(rows(&source.table, &source.projection)),
            Operator::Calc { projection, .. } => calcs.push(projection),
            _ => {}
        }
    }
    let last = calcs.last_mut().unwrap();
    match last.pop() {
        Some(Expr::Call { args, .. }) => *last = args,
        other => panic!("the plan has {other:?}"),
    }
    (batch.unwrap(), calcs)
}

fn shown(value: Option<&str>) -> String {
    let Some(value) = value else {
        return "NULL".to_owned();
    };
    let value = value
        .replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    format!("'{value}'")
}

/// The type of an expression, and its values in the rows of the input, which come in two batches.
fn evaluated(session: &mut Session, expression: &str) -> Result<(DataType, Vec<String>), String> {
    let view = format!("CREATE TEMPORARY VIEW v (x) AS SELECT {expression} FROM input");
    session
        .execute(&format!(
            "{view}; CREATE TEMPORARY TABLE o (x BOOLEAN) WITH ('connector' = 'test', 'topic' = 'o');"
        ))
        .map_err(|e| e.to_string())?;
    let graph = graph(session, "INSERT INTO o SELECT x IS NULL FROM v");
    session
        .execute("DROP TEMPORARY VIEW v; DROP TEMPORARY TABLE o")
        .map_err(|e| e.to_string())?;
    let (batch, mut calcs) = planned(graph);
    let last = calcs.last_mut().unwrap();
    let data_type = last[0].data_type().clone();
    last[0] = cast::cast(last[0].clone(), DataType::string()).map_err(|e| e.to_string())?;
    let zone = Zone {
        time_zone: text::zone::parse("America/Los_Angeles").unwrap(),
    };
    let programs: Vec<Vec<Program>> = calcs
        .iter()
        .map(|exprs| {
            exprs
                .iter()
                .map(|e| Program::compile(e, &zone).unwrap())
                .collect()
        })
        .collect();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let mut values = Vec::new();
    for start in [0, 2] {
        let mut batch = batch.slice(start, 2);
        for programs in &programs {
            let columns = programs
                .iter()
                .map(|p| p.evaluate(&batch, &Evaluation { now_millis: now }))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| e.to_string())?;
            batch =
                RecordBatch::try_from_iter(columns.into_iter().enumerate().map(|(i, c)| (i.to_string(), c)))
                    .unwrap();
        }
        let texts = batch.column(0).as_string::<i32>();
        values.extend((0..texts.len()).map(|row| shown(texts.is_valid(row).then(|| texts.value(row)))));
    }
    Ok((data_type, values))
}

/// Whether a value may be null is not compared, see the golden files of millrace-expr.
fn without_null(data_type: &str) -> String {
    data_type
        .replace(" NOT NULL", "")
        // Which units an interval is written with is not kept.
        .replace("INTERVAL DAY TO SECOND(3)", "INTERVAL SECOND(3)")
}

#[test]
fn give_what_flink_gives() {
    let mut session = with_input();
    let mut wrong = Vec::new();
    let lines = lines();
    for line in &lines {
        match evaluated(&mut session, line.expression) {
            Ok((data_type, _)) if without_null(&data_type.to_string()) != without_null(line.data_type) => {
                wrong.push(format!(
                    "{}: of type {data_type}, not {}",
                    line.expression, line.data_type
                ))
            }
            Ok((_, values)) if values != line.values => wrong.push(format!(
                "{}:\n  {}\n  not\n  {}",
                line.expression,
                values.join(" "),
                line.values.join(" ")
            )),
            Ok(_) => {}
            Err(message) => {
                session = with_input();
                wrong.push(format!("{}: {message}", line.expression));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        lines.len(),
        wrong.join("\n")
    );
}

fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part.as_bytes()));
    hex::encode(digest.finalize())[..16].to_owned()
}

#[test]
fn results_are_of_these_expressions_and_rows() {
    let lines = lines();
    let of: String = lines
        .iter()
        .map(|line| format!("{}\t{}\n", line.name, line.expression))
        .collect();
    let header = format!(
        "# flink 2.1.1, expressions {}, input {}",
        hash(&[&of]),
        hash(&[TABLE, INPUT])
    );
    assert_eq!(
        RESULTS.lines().next(),
        Some(header.as_str()),
        "something has changed since Flink was asked: run functions/refresh"
    );
    for line in &lines {
        assert_eq!(line.values.len(), INPUT.lines().count(), "{}", line.expression);
    }
    // One row has nulls only, but for its number.
    let nulls = INPUT.lines().filter(|row| row.matches(":null").count() == 24);
    assert_eq!(nulls.count(), 1);
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../millrace/tests/golden")
}

#[test]
fn queries_have_what_they_are_named_for() {
    for (name, sql, query) in IN_QUERIES {
        let script = fs::read_to_string(golden().join(format!("queries/{query}.sql"))).unwrap();
        assert!(script.contains(sql), "{query} has no '{sql}', for {name}");
        let result = fs::read_to_string(golden().join(format!("results/{query}.txt"))).unwrap();
        assert!(result.lines().count() >= 5, "{query} gives less than three rows");
        let inputs: Vec<&str> = script.split("${inputs}/").skip(1).collect();
        let has_nulls = inputs.iter().any(|rest| {
            let name = rest.split('\'').next().unwrap();
            let input = fs::read_to_string(golden().join("inputs").join(name)).unwrap();
            input.contains("null")
        });
        assert!(has_nulls, "{query} reads no nulls");
    }
}

#[test]
fn refused_ones_say_what_to_do() {
    for (name, statement) in REFUSED {
        let refusal = function::refusal(name).unwrap_or_else(|| panic!("{name} is not refused"));
        let message = error(&format!("EXPLAIN {statement}"));
        assert!(message.contains(refusal.message()), "{statement}\n=> {message}");
        assert!(
            message.contains(refusal.hint().unwrap()),
            "{statement}\n=> {message}"
        );
        assert!(
            message.contains(" | ") && message.contains('^'),
            "no place: {message}"
        );
    }
}

#[test]
fn names_of_the_table_api_say_what_sql_has() {
    for (call, sql) in [
        ("upperCase(carrier)", "SQL has UPPER(s)"),
        ("plus(delay, 1)", "SQL has a + b"),
        ("IS_JSON(carrier)", "SQL has s IS JSON"),
        ("stddevPop(delay)", "SQL has STDDEV_POP(x)"),
    ] {
        let message = error(&format!("EXPLAIN SELECT {call} FROM flights"));
        assert!(message.contains("unknown function"), "{message}");
        assert!(message.contains(sql), "{message}");
    }
}

/// The names in the first column of the tables of a part of docs/functions.md.
fn documented(part: &str) -> Vec<&str> {
    let cell = |line: &'static str| line.strip_prefix("| `").and_then(|rest| rest.split_once('`'));
    let start = DOCS
        .find(&format!("\n## {part}\n"))
        .unwrap_or_else(|| panic!("there is no '{part}'"));
    let rest = &DOCS[start + 1..];
    let end = rest[3..].find("\n## ").map_or(rest.len(), |at| at + 3);
    rest[..end]
        .lines()
        .filter_map(cell)
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn docs_and_code_agree_with_flinks_list() {
    let supported = documented("Supported");
    let refused = documented("Refused");
    let all: BTreeSet<&str> = supported.iter().chain(&refused).copied().collect();
    assert_eq!(
        all.len(),
        supported.len() + refused.len(),
        "a name stands there twice"
    );
    assert_eq!(all, names());

    let compared: BTreeSet<&str> = lines()
        .iter()
        .map(|line| line.name)
        .chain(IN_QUERIES.iter().map(|(name, ..)| *name))
        .collect();
    assert_eq!(supported.iter().copied().collect::<BTreeSet<_>>(), compared);
    assert!(compared.len() >= 200);
    let refusals: BTreeSet<&str> = REFUSED.iter().map(|(name, _)| *name).collect();
    assert_eq!(refused.iter().copied().collect::<BTreeSet<_>>(), refusals);

    for name in compared {
        assert!(function::refusal(name).is_none(), "{name} is refused");
    }
    // Whatever can be called stands somewhere, by its name in SQL.
    for name in function::names() {
        // Nobody calls `r.f` and `a[1]` by name.
        let is_word =
            name.chars().all(|c| c.is_alphanumeric() || c == '_') && !["FIELD", "ITEM"].contains(&name);
        assert!(
            !is_word || DOCS.contains(&format!("`{name}")) || DOCS.contains(&format!(" {name}")),
            "{name}"
        );
    }
    for name in function::refused() {
        assert!(
            DOCS.contains(&format!("`{name}`")) || refused.iter().any(|r| r.eq_ignore_ascii_case(name)),
            "{name}"
        );
    }
}

#[test]
fn docs_say_how_many() {
    let (supported, refused) = (documented("Supported").len(), documented("Refused").len());
    let sentence = format!("Of its 226, {supported} are supported and {refused} refused");
    assert!(
        DOCS.contains(&sentence),
        "docs/functions.md does not say '{sentence}'"
    );
}
