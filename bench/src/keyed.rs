//! Keyed jobs from a generator into nothing, on Millrace and on Apache Flink: what the engines themselves do,
//! without a broker between. The generator's own rate is measured too, for it must not be what is measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::flink::{Session, Settings};
use crate::job;
use crate::lab::{self, Engine, Lab, Run};
use crate::machine::Machine;
use crate::results::{self, Folder};
use crate::stats;
use crate::usage::{Usage, Watch};

const SOURCE: &str = include_str!("../jobs/keyed/source.sql");

/// Name, what the report calls it, and the job behind the source.
const JOBS: &[(&str, &str, &str)] = &[
    (
        BARE,
        "the generator alone",
        include_str!("../jobs/keyed/bare.sql"),
    ),
    (
        "running-sum",
        "running sum (OVER)",
        include_str!("../jobs/keyed/running-sum.sql"),
    ),
    (
        "tumble",
        "count and sum by TUMBLE of 10 s",
        include_str!("../jobs/keyed/tumble.sql"),
    ),
    (
        "group",
        "updating GROUP BY",
        include_str!("../jobs/keyed/group.sql"),
    ),
    (
        "group-ttl",
        "updating GROUP BY, a time to live of 1 h",
        include_str!("../jobs/keyed/group-ttl.sql"),
    ),
    (
        "group-mini-batch",
        "updating GROUP BY, mini-batches",
        include_str!("../jobs/keyed/group-mini-batch.sql"),
    ),
    (
        "deduplicate",
        "deduplication, last row",
        include_str!("../jobs/keyed/deduplicate.sql"),
    ),
    (
        "interval-join",
        "interval join",
        include_str!("../jobs/keyed/interval-join.sql"),
    ),
];

/// The job that only reads.
pub const BARE: &str = "bare";
const EACH: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(600);

/// `millrace-bench keyed`
#[derive(Debug, Args, Clone)]
pub struct Options {
    /// Rows for Millrace
    #[arg(long, default_value_t = 60_000_000)]
    pub rows: u64,
    /// Rows for Apache Flink, whose generator holds all of them in memory
    #[arg(long, default_value_t = 4_000_000)]
    pub flink_rows: u64,
    /// Rounds that count
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Rounds before, which do not count
    #[arg(long, default_value_t = 1)]
    pub warm_up: usize,
    /// Only these jobs [default: all]
    #[arg(long, value_delimiter = ',')]
    pub jobs: Vec<String>,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::Millrace, Engine::Flink])]
    pub engines: Vec<Engine>,
    /// The engine's binary [default: beside this program]
    #[arg(long)]
    pub millrace: Option<PathBuf>,
}

/// One run of one job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    pub rows: u64,
    /// From the start of the process, or of the job in a running cluster, to its end.
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub peak_bytes: u64,
}

impl Pass {
    /// Rows a second.
    pub fn rate(&self) -> f64 {
        self.rows as f64 / self.seconds
    }
}

/// The passes of one job, by engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub name: String,
    pub title: String,
    pub passes: BTreeMap<String, Vec<Pass>>,
}

impl Job {
    pub fn median(&self, engine: &str, figure: fn(&Pass) -> f64) -> Option<f64> {
        let passes = self.passes.get(engine)?;
        stats::median(&passes.iter().map(figure).collect::<Vec<_>>())
    }

    pub fn rate(&self, engine: &str) -> Option<f64> {
        self.median(engine, Pass::rate)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keyed {
    pub date: String,
    pub machine: Machine,
    pub jobs: Vec<Job>,
}

pub fn run(options: &Options, folder: &Folder) -> Result<()> {
    for name in &options.jobs {
        if !JOBS.iter().any(|(known, _, _)| known == name) {
            let known: Vec<_> = JOBS.iter().map(|(known, _, _)| *known).collect();
            bail!("there is no job '{name}'; there are {}", known.join(", "));
        }
    }
    let mut lab = Lab::without_broker(options.millrace.as_deref())?;
    let mut session = None;
    if options.engines.contains(&Engine::Flink) {
        session = Some(lab.flink(Settings::STATEFUL)?);
    }
    let mut result = Keyed {
        date: results::today(),
        machine: lab.machine.clone(),
        jobs: Vec::new(),
    };
    let wanted = |name: &str| options.jobs.is_empty() || options.jobs.iter().any(|job| job == name);
    for (name, title, text) in JOBS.iter().filter(|(name, _, _)| wanted(name)) {
        let mut job = Job {
            name: (*name).to_owned(),
            title: (*title).to_owned(),
            passes: BTreeMap::new(),
        };
        for round in 0..options.warm_up + options.rounds {
            let mut order = options.engines.clone();
            let shift = round % order.len().max(1);
            order.rotate_left(shift);
            for engine in order {
                let pass = match engine {
                    Engine::Copy => continue,
                    Engine::Millrace => millrace(&mut lab, name, text, options.rows)?,
                    Engine::Flink => {
                        let session = session.as_mut().context("no cluster of Flink was started")?;
                        flink(&mut lab, session, name, text, options.flink_rows)?
                    }
                };
                let counts = round >= options.warm_up;
                println!(
                    "{name:<18} {:<9} {:>11.0} rows/s  {:>5.2} CPU s/M  {:>6.0} MiB  {:>5.1} s{}",
                    engine.name(),
                    pass.rate(),
                    pass.cpu_seconds / pass.rows as f64 * 1e6,
                    pass.peak_bytes as f64 / f64::from(1 << 20),
                    pass.seconds,
                    if counts { "" } else { "  (warm-up)" }
                );
                if counts {
                    let of_engine = job.passes.entry(engine.name().to_owned());
                    of_engine.or_default().push(pass);
                }
            }
        }
        result.jobs.push(job);
    }
    folder.save(results::KEYED, &result)
}

fn write_sql(run: &Run, text: &str, rows: u64) -> Result<PathBuf> {
    let checkpoints = format!("file://{}", run.folder.join("checkpoints").display());
    let rows = rows.to_string();
    let values = [
        ("${name}", run.name.as_str()),
        ("${checkpoints}", &checkpoints),
        ("${rows}", &rows),
    ];
    let path = run.folder.join("job.sql");
    fs::write(&path, job::fill(&format!("{SOURCE}\n{text}"), &values)?)?;
    Ok(path)
}

fn millrace(lab: &mut Lab, name: &str, text: &str, rows: u64) -> Result<Pass> {
    let run = lab.folder(&format!("millrace-{name}"))?;
    let sql = write_sql(&run, text, rows)?;
    let start = Instant::now();
    let mut process = lab.millrace(&run, &sql)?;
    let mut watch = Watch::new(vec![process.id()]);
    let (last, seconds) = follow(start, &mut watch, |_| lab::ended(&mut process, "millrace run"))?;
    fs::remove_dir_all(&run.folder)?;
    Ok(pass(rows, seconds, Usage::default(), last))
}

fn flink(lab: &mut Lab, session: &mut Session, name: &str, text: &str, rows: u64) -> Result<Pass> {
    let run = lab.folder(&format!("flink-{name}"))?;
    let sql = write_sql(&run, text, rows)?;
    session.wait_idle()?;
    let mut watch = Watch::new(session.process_ids());
    watch.reset_peak();
    let before = watch.usage();
    let mut client = session.submit(&sql, &run.log())?;
    let mut seconds = 0.0;
    let (last, _) = follow(Instant::now(), &mut watch, |looks| {
        // The JobManager is not to be kept busy with questions.
        if !looks.is_multiple_of(4) {
            return Ok(false);
        }
        let finished = session.finished(&mut client)?;
        seconds = finished.unwrap_or(seconds);
        Ok(finished.is_some())
    })?;
    fs::remove_dir_all(&run.folder)?;
    Ok(pass(rows, seconds, before, last))
}

fn pass(rows: u64, seconds: f64, before: Usage, last: Usage) -> Pass {
    Pass {
        rows,
        seconds,
        cpu_seconds: last.cpu_seconds - before.cpu_seconds,
        peak_bytes: last.peak_bytes,
    }
}

/// Looks until `ended`, which is told how often was looked; the last usage seen, and how long it took.
fn follow(
    start: Instant,
    watch: &mut Watch,
    mut ended: impl FnMut(u32) -> Result<bool>,
) -> Result<(Usage, f64)> {
    let mut last = watch.usage();
    let mut looks = 0;
    loop {
        if ended(looks)? {
            return Ok((last, start.elapsed().as_secs_f64()));
        }
        last = watch.usage();
        if start.elapsed() > LIMIT {
            bail!("the job did not end within {} s", LIMIT.as_secs());
        }
        looks += 1;
        thread::sleep(EACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blank_of_every_job_is_filled() {
        let folder = millrace_testkit::scratch::Scratch::new("keyed").unwrap();
        let run = Run {
            name: "r".to_owned(),
            folder: folder.join(""),
        };
        for (_, _, text) in JOBS {
            let sql = fs::read_to_string(write_sql(&run, text, 7).unwrap()).unwrap();
            assert!(sql.contains("'fields.id.end' = '7'"), "{sql}");
        }
    }
}
