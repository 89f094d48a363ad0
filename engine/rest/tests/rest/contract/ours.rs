//! Our answers beside those that are recorded of Flink.

use std::io::{Cursor, Write};

use anyhow::{Result, ensure};
use serde_json::{Map, Value};

use crate::cluster::{Cluster, LIMIT};
use crate::contract::scenario::{self, Carrier};
use crate::contract::{jobs, recorded_shapes, shape};

/// Where we answer otherwise, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        ".GET /jobs/:jobid/exceptions # of a task.body.exceptionHistory.entries[]",
        LAST_FAILURE,
    ),
    (
        ".GET /jobs/:jobid/exceptions?maxExceptions=1 # of a task.body.exceptionHistory.entries[]",
        LAST_FAILURE,
    ),
];

const LAST_FAILURE: &str = "the failure that ends a job is told as what failed; Flink tells that recovery is suppressed, and \
                            what failed as an exception beside that";

fn carrier() -> Result<Carrier> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("job.sql", zip::write::SimpleFileOptions::default())?;
    zip.write_all(jobs::ENDS.as_bytes())?;
    Ok(Carrier {
        name: "job.jar".to_owned(),
        content: zip.finish()?.into_inner(),
    })
}

fn compare(ours: Map<String, Value>, is_of: impl Fn(&str) -> bool) -> Result<()> {
    let flinks: Map<String, Value> = recorded_shapes()?
        .into_iter()
        .filter(|(name, _)| is_of(name))
        .collect();
    ensure!(!flinks.is_empty(), "nothing is recorded");
    let differences = shape::differences("", &Value::Object(flinks), &Value::Object(ours));
    let is_known = |line: &&String| DIFFERENCES.iter().any(|(place, _)| line.starts_with(place));
    let unknown: Vec<&String> = differences.iter().filter(|line| !is_known(line)).collect();
    let text: Vec<&str> = unknown.iter().map(|line| line.as_str()).collect();
    ensure!(
        unknown.is_empty(),
        "{} differences:\n{}",
        text.len(),
        text.join("\n")
    );
    for (place, why) in DIFFERENCES.iter().filter(|(place, _)| is_of(place)) {
        let is_there = differences.iter().any(|line| line.starts_with(place));
        ensure!(is_there, "this is no difference any more: {place}: {why}");
    }
    Ok(())
}

const FAILURES: &str = "of a task";

#[test]
fn answers_have_flinks_shapes() -> Result<()> {
    let options = [
        ("jobmanager.scheduler", "adaptive"),
        ("execution.checkpointing.savepoint-dir", "/proc/nowhere"),
    ];
    let mut cluster = Cluster::start("contract", 1, 4, &options)?;
    let folder = cluster.folder.path().to_owned();
    let record = scenario::run(&cluster.client, &carrier()?, &folder)?;
    let shapes = record.shapes()?;
    drop(record);
    cluster.job_manager.wait(LIMIT)?;
    compare(shapes, |name| !name.contains(FAILURES))
}

#[test]
fn failures_have_flinks_shapes() -> Result<()> {
    let cluster = Cluster::start("contract-failure", 1, 1, &[])?;
    let record = scenario::failure(&cluster.client, &carrier()?)?;
    compare(record.shapes()?, |name| name.contains(FAILURES))
}
