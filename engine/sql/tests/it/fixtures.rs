//! Connectors that only check: `test` reads and writes, `readonly` and `writeonly` do one of both.

use std::sync::Arc;

use millrace_connector_api::sink::{
    RecoverContext, Recovered, SinkChangelog, SinkContext, SinkFactory, SinkTraits, SinkWriter,
};
use millrace_connector_api::source::{
    SourceChangelog, SourceContext, SourceFactory, SourceReader, SourceTraits,
};
use millrace_connector_api::{Connector, OptionSpec, Options, Registry};
use millrace_core::{Configuration, Error, Result};
use millrace_dataflow::{Graph, SinkSpec, SourceSpec, TableSpec};
use millrace_expr::{DataType, Field, TypeKind};
use millrace_sql::{Job, Outcome, Session};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required("connector", "which connector"),
    OptionSpec::required("topic", "what is read or written"),
    OptionSpec::optional(
        "mode",
        Some("all"),
        "cdc and upsert: the kinds of rows; else anything",
    ),
    OptionSpec::optional("json.*", None, "options of a format"),
    OptionSpec::optional("scan.parallelism", None, "subtasks of the source"),
    OptionSpec::optional("sink.parallelism", None, "subtasks of the sink"),
];

struct Test {
    identifier: &'static str,
    reads: bool,
    writes: bool,
}

impl Connector for Test {
    fn identifier(&self) -> &'static str {
        self.identifier
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn source(&self) -> Option<&dyn SourceFactory> {
        if self.reads { Some(self) } else { None }
    }

    fn sink(&self) -> Option<&dyn SinkFactory> {
        if self.writes { Some(self) } else { None }
    }
}

fn timestamp() -> Field {
    Field::new("timestamp", DataType::not_null(TypeKind::TimestampLtz(3)))
}

fn check(table: &TableSpec) -> Result<Options<'_>> {
    let options = Options::new(&table.name, &table.options);
    options.check(&[OPTIONS])?;
    Ok(options)
}

fn nothing_runs() -> Error {
    Error::internal("the planner's tests open nothing")
}

impl SourceFactory for Test {
    fn metadata(&self, _: &TableSpec) -> Result<Vec<Field>> {
        Ok(vec![
            timestamp(),
            Field::new("offset", DataType::not_null(TypeKind::BigInt)),
            Field::new(
                "topic",
                DataType::not_null(TypeKind::Varchar(millrace_expr::types::MAX_LENGTH)),
            ),
        ])
    }

    fn validate(&self, table: &TableSpec) -> Result<SourceTraits> {
        Ok(SourceTraits {
            idle_timeout: None,
            bounded: false,
            parallelism: check(table)?.get("scan.parallelism")?,
            changelog: match check(table)?.raw("mode") {
                Some("cdc") => SourceChangelog::All,
                Some("upsert") => SourceChangelog::Upsert,
                _ => SourceChangelog::Inserts,
            },
        })
    }

    fn check(&self, _: &SourceSpec) -> Result<()> {
        Err(nothing_runs())
    }

    fn open(&self, _: &SourceSpec, _: SourceContext) -> Result<Box<dyn SourceReader>> {
        Err(nothing_runs())
    }
}

impl SinkFactory for Test {
    fn metadata(&self, _: &TableSpec) -> Result<Vec<Field>> {
        Ok(vec![timestamp()])
    }

    fn validate(&self, table: &TableSpec) -> Result<SinkTraits> {
        Ok(SinkTraits {
            needs_checkpoints: false,
            parallelism: check(table)?.get("sink.parallelism")?,
            changelog: match check(table)?.raw("mode") {
                Some("cdc") => SinkChangelog::All,
                Some("upsert") => SinkChangelog::Upsert,
                _ => SinkChangelog::Inserts,
            },
        })
    }

    fn check(&self, _: &SinkSpec) -> Result<()> {
        Err(nothing_runs())
    }

    fn attempt_record(&self, _: &SinkSpec, _: u64, _: usize) -> Result<Vec<u8>> {
        Err(nothing_runs())
    }

    fn recover(&self, _: &SinkSpec, _: RecoverContext) -> Result<Recovered> {
        Err(nothing_runs())
    }

    fn open(&self, _: &SinkSpec, _: SinkContext) -> Result<Box<dyn SinkWriter>> {
        Err(nothing_runs())
    }
}

pub fn registry() -> Registry {
    let mut registry = Registry::default();
    for (identifier, reads, writes) in [
        ("test", true, true),
        ("readonly", true, false),
        ("writeonly", false, true),
    ] {
        registry.add_connector(Arc::new(Test {
            identifier,
            reads,
            writes,
        }));
    }
    registry
}

pub fn session() -> Session {
    Session::new(Configuration::default(), registry())
}

/// Tables that most tests read and write.
pub const TABLES: &str = "
CREATE TABLE flights (
  id BIGINT NOT NULL,
  carrier STRING,
  origin STRING,
  delay INT,
  price DECIMAL(10, 2),
  at TIMESTAMP(3),
  tags ARRAY<STRING>,
  attributes MAP<STRING, INT>,
  plane ROW<tail STRING, `built in` INT, maker ROW<name STRING, country STRING>>
) WITH ('connector' = 'test', 'topic' = 'flights');
CREATE TABLE late (carrier STRING, delay INT) WITH ('connector' = 'writeonly', 'topic' = 'late');
";

/// A session with `TABLES`.
pub fn with_tables() -> Session {
    let mut session = session();
    session.execute(TABLES).unwrap_or_else(|e| panic!("{e}"));
    session
}

/// The jobs of a script.
pub fn jobs(session: &mut Session, script: &str) -> Vec<Job> {
    let outcomes = session
        .execute(script)
        .unwrap_or_else(|e| panic!("{script}\n{e}"));
    outcomes
        .into_iter()
        .filter_map(|o| match o {
            Outcome::Job(job) => Some(job),
            _ => None,
        })
        .collect()
}

/// The only job of a script.
pub fn graph(session: &mut Session, script: &str) -> Graph {
    let mut jobs = jobs(session, script);
    assert_eq!(jobs.len(), 1, "{script}");
    jobs.remove(0).graph
}

/// The plan of a script's last job or EXPLAIN.
pub fn plan(script: &str) -> String {
    let mut session = with_tables();
    let outcomes = session
        .execute(script)
        .unwrap_or_else(|e| panic!("{script}\n{e}"));
    match outcomes.into_iter().next_back() {
        Some(Outcome::Job(job)) => millrace_dataflow::explain::explain(&job.graph),
        Some(Outcome::Text(text)) => text,
        other => panic!("{script}\n{other:?}"),
    }
}

/// The text of a script's last statement.
pub fn text(session: &mut Session, script: &str) -> String {
    match session.execute(script).map(|mut o| o.pop()) {
        Ok(Some(Outcome::Text(text))) => text,
        other => panic!("{script}\n{other:?}"),
    }
}

/// The error of a script.
pub fn error(script: &str) -> String {
    match with_tables().execute(script) {
        Ok(_) => panic!("this should be refused: {script}"),
        Err(e) => e.to_string(),
    }
}
