//! Incremental checkpoints of a large state: what is uploaded, and how long it takes.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::flink::{Checkpoint, Settings};
use crate::job;
use crate::keys::{self, Distribution};
use crate::lab::{self, Engine, Lab, Run};
use crate::machine::Machine;
use crate::progress::Log;
use crate::results::{self, Folder};
use crate::stats;

const JOB: &str = include_str!("../jobs/state/checkpoints.sql");
const MANAGED: &str = "SET 'taskmanager.memory.managed.size' = '512mb';";
const EACH: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(900);
/// Checkpoints after the state is complete, before any counts.
const SETTLE: u64 = 3;

/// `millrace-bench checkpoints`
#[derive(Debug, Args, Clone)]
pub struct Options {
    /// Keys of the state
    #[arg(long, default_value_t = 3_000_000)]
    pub keys: u64,
    /// Characters of each key's value, hexadecimal digits at random
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u64).range(1..=384))]
    pub length: u64,
    /// Checkpoints that count
    #[arg(long, default_value_t = 50)]
    pub checkpoints: usize,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::Millrace, Engine::Flink])]
    pub engines: Vec<Engine>,
    /// The engine's binary [default: beside this program]
    #[arg(long)]
    pub millrace: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub engine: String,
    pub checkpoints: Vec<Checkpoint>,
}

impl Series {
    /// Uploaded of the state, the mean over all checkpoints.
    pub fn uploaded(&self) -> f64 {
        let (all, written) = self
            .checkpoints
            .iter()
            .fold((0, 0), |(all, written), c| (all + c.bytes, written + c.written));
        written as f64 / all.max(1) as f64
    }

    pub fn longest(&self) -> f64 {
        self.checkpoints.iter().map(|c| c.seconds).fold(0.0, f64::max)
    }

    pub fn median_seconds(&self) -> Option<f64> {
        stats::median(&self.checkpoints.iter().map(|c| c.seconds).collect::<Vec<_>>())
    }

    pub fn state_bytes(&self) -> Option<f64> {
        stats::median(
            &self
                .checkpoints
                .iter()
                .map(|c| c.bytes as f64)
                .collect::<Vec<_>>(),
        )
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoints {
    pub date: String,
    pub machine: Machine,
    pub keys: u64,
    pub length: u64,
    pub series: Vec<Series>,
}

pub fn run(options: &Options, folder: &Folder) -> Result<()> {
    let mut lab = Lab::without_broker(options.millrace.as_deref())?;
    let mut result = Checkpoints {
        date: results::today(),
        machine: lab.machine.clone(),
        keys: options.keys,
        length: options.length,
        series: Vec::new(),
    };
    for engine in &options.engines {
        let checkpoints = match engine {
            Engine::Copy => continue,
            Engine::Millrace => millrace(&mut lab, options)?,
            Engine::Flink => flink(&mut lab, options)?,
        };
        let series = Series {
            engine: engine.name().to_owned(),
            checkpoints,
        };
        println!(
            "{:<9} {} checkpoints of {:.0} MiB: {:.1}% uploaded, median {:.2} s, longest {:.2} s",
            engine.name(),
            series.checkpoints.len(),
            series.state_bytes().unwrap_or(0.0) / f64::from(1 << 20),
            series.uploaded() * 100.0,
            series.median_seconds().unwrap_or(0.0),
            series.longest()
        );
        result.series.push(series);
        // What one engine gave is kept, whatever becomes of the other.
        folder.save(results::CHECKPOINTS, &result)?;
    }
    Ok(())
}

fn write_sql(run: &Run, options: &Options, settings: &str) -> Result<PathBuf> {
    let checkpoints = format!("file://{}", run.folder.join("checkpoints").display());
    let input = run.folder.join("input");
    std::fs::create_dir_all(&input)?;
    // Each key once.
    keys::write_input(&input, options.keys, Distribution::Uniform, 0)?;
    let input = format!("file://{}", input.display());
    let (last, changes) = (options.keys - 1, options.keys / 100);
    let (last, changes, length) = (last.to_string(), changes.to_string(), options.length.to_string());
    let values = [
        ("${name}", run.name.as_str()),
        ("${checkpoints}", &checkpoints),
        ("${input}", &input),
        ("${last}", &last),
        ("${changes}", &changes),
        ("${length}", &length),
        ("${settings}", settings),
    ];
    let path = run.folder.join("job.sql");
    std::fs::write(&path, job::fill(JOB, &values)?)?;
    Ok(path)
}

/// From when on all keys are there: the rows that have come are those of all keys, and what was changed
/// meanwhile; what is on its way may be missing.
fn is_filled(rows: u64, seconds: f64, options: &Options) -> bool {
    rows as f64 >= options.keys as f64 * (0.99 + 0.99 * seconds / 100.0)
}

fn millrace(lab: &mut Lab, options: &Options) -> Result<Vec<Checkpoint>> {
    let run = lab.folder("millrace-checkpoints")?;
    let sql = write_sql(&run, options, MANAGED)?;
    let start = Instant::now();
    let mut process = lab.talkative_millrace(&run, &sql, None)?;
    let mut log = Log::new(&run.log());
    let mut filled: Option<u64> = None;
    let mut counted = Vec::new();
    while counted.len() < options.checkpoints {
        if lab::ended(&mut process, "millrace run")? {
            bail!("the job ended");
        }
        let seconds = start.elapsed().as_secs_f64();
        for completed in log.look()? {
            let checkpoint = completed.checkpoint;
            if is_filled(completed.source_rows, seconds, options) {
                let first = *filled.get_or_insert(checkpoint.number);
                if checkpoint.number >= first + SETTLE {
                    counted.push(checkpoint);
                }
            }
        }
        if start.elapsed() > LIMIT {
            bail!("{} checkpoints within {LIMIT:?}", counted.len());
        }
        thread::sleep(EACH);
    }
    process.kill()?;
    std::fs::remove_dir_all(&run.folder)?;
    counted.truncate(options.checkpoints);
    Ok(counted)
}

fn flink(lab: &mut Lab, options: &Options) -> Result<Vec<Checkpoint>> {
    let run = lab.folder("flink-checkpoints")?;
    let sql = write_sql(&run, options, "")?;
    let session = lab.flink(Settings::STATEFUL)?;
    let mut client = session.submit(&sql, &run.log())?;
    let begun = Instant::now();
    let mut start: Option<Instant> = None;
    let mut filled: Option<u64> = None;
    let mut counted: Vec<Checkpoint> = Vec::new();
    while counted.len() < options.checkpoints {
        thread::sleep(EACH * 5);
        if session.finished(&mut client)?.is_some() {
            bail!("the job ended");
        }
        let Some(id) = client.job()? else { continue };
        if begun.elapsed() > LIMIT {
            let seen = session.checkpoints(id)?;
            bail!(
                "Flink does not keep up: within {LIMIT:?} {} checkpoints that count, of {} in all (the last: {:?}), and {} rows read of at least {}",
                counted.len(),
                seen.len(),
                seen.last(),
                session.source_rows(id)?,
                options.keys,
            );
        }
        let start = start.get_or_insert_with(Instant::now);
        let seconds = start.elapsed().as_secs_f64();
        let checkpoints = session.checkpoints(id)?;
        let newest = checkpoints.last().map_or(0, |c| c.number);
        if filled.is_none() && is_filled(session.source_rows(id)?, seconds, options) {
            filled = Some(newest + 1);
        }
        let Some(first) = filled else { continue };
        let known = counted
            .last()
            .map_or(first + SETTLE, |c: &Checkpoint| c.number + 1);
        counted.extend(checkpoints.into_iter().filter(|c| c.number >= known));
    }
    let id = client.job()?.context("the job has no id")?.to_owned();
    let mut session = session;
    session.cancel(&id)?;
    std::fs::remove_dir_all(&run.folder)?;
    counted.truncate(options.checkpoints);
    Ok(counted)
}
