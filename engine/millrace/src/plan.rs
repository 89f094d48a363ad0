//! From a SQL file to the jobs of it.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use millrace_core::{Configuration, Error, Result, options};
use millrace_dataflow::{Graph, Operator};
use millrace_sql::{Outcome, Session};

/// A job of a SQL text, planned.
pub struct Planned {
    pub name: String,
    pub graph: Graph,
    /// The given configuration, and what the text has SET on top of it.
    pub config: Configuration,
}

/// The text of a file; '-' is standard input.
pub fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(|_| ()),
        false => std::fs::read_to_string(file).map(|t| text = t),
    };
    match read {
        Ok(()) => Ok(text),
        Err(e) => Err(Error::user("the SQL file cannot be read")
            .with_detail(file.display().to_string())
            .with_source(e)),
    }
}

/// The jobs of a SQL text, in its order. What statements answer is given to `say`.
pub fn jobs(
    sql: &str,
    config: &Configuration,
    mut say: impl FnMut(&str) -> Result<()>,
) -> Result<Vec<Planned>> {
    let mut without_effect: HashSet<String> = options::check(config)?.into_iter().collect();
    let mut session = Session::new(config.clone(), millrace_connectors::registry());
    let mut jobs = Vec::new();
    for outcome in session.execute(sql)? {
        match outcome {
            Outcome::Text(text) => say(&text)?,
            Outcome::Done => {}
            Outcome::Job(job) => {
                for key in options::check(&job.config)? {
                    // Those of the command line and config.yaml have been told already.
                    if without_effect.insert(key.clone()) {
                        tracing::warn!(key, "this option has no effect here");
                    }
                }
                jobs.push(Planned {
                    name: job.name.unwrap_or_else(|| default_name(&job.graph)),
                    graph: job.graph,
                    config: job.config,
                });
            }
        }
    }
    let mut names = HashSet::new();
    if let Some(twice) = jobs.iter().find(|job| !names.insert(job.name.clone())) {
        return Err(Error::user("two jobs of the file have the same name")
            .with_detail(twice.name.clone())
            .with_hint(
                "SET 'pipeline.name' to another one before each, or put the INSERTs into one STATEMENT SET",
            ));
    }
    Ok(jobs)
}

/// Flink's name for a job without one.
pub fn default_name(graph: &Graph) -> String {
    let sinks: Vec<_> = graph
        .nodes
        .iter()
        .filter_map(|node| match &node.operator {
            Operator::Sink(sink) => Some(sink.table.name.as_str()),
            _ => None,
        })
        .collect();
    format!("insert-into_{}", sinks.join(","))
}
