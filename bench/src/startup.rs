//! Start-up: from the start of `millrace run` to its first record, visible to a reader with
//! isolation read_uncommitted. The broker is warm; the job is the exactly-once pass-through.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::client::Consumer;
use crate::job::Format;
use crate::lab::{self, Lab, STOP};
use crate::results::{self, Folder, Startup};
use crate::topic::{self, PARTITIONS};

const INPUT: &str = "bench-startup-input";
const LIMIT: Duration = Duration::from_secs(60);
const MESSAGES: u64 = 100_000;

/// `millrace-bench startup`
#[derive(Debug, Args, Clone)]
pub struct Options {
    /// How often it is measured, after one time that does not count
    #[arg(long, default_value_t = 15)]
    pub tries: usize,
    /// The engine's binary [default: beside this program]
    #[arg(long)]
    pub millrace: Option<PathBuf>,
}

/// Measures, and saves the result.
pub fn run(options: &Options, folder: &Folder) -> Result<()> {
    let mut lab = Lab::open(options.millrace.as_deref())?;
    lab.create_topic(INPUT)?;
    topic::load(&lab.bootstrap()?, INPUT, MESSAGES)?;
    let mut milliseconds = Vec::new();
    for number in 0..=options.tries {
        let taken = once(&mut lab)?.as_secs_f64() * 1000.0;
        if number > 0 {
            println!("start-up, {number} of {}: {taken:.0} ms", options.tries);
            milliseconds.push(taken);
        }
    }
    folder.save(
        results::STARTUP,
        &Startup {
            date: results::today(),
            machine: lab.machine.clone(),
            milliseconds,
        },
    )
}

fn once(lab: &mut Lab) -> Result<Duration> {
    let run = lab.run("startup")?;
    let sql = lab.sql(&run, Format::Json.passthrough(), INPUT, None)?;
    let from: Vec<(i32, i64)> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    // A small batch: the reader is to see the first record, not to wait for more.
    let settings = [("isolation.level", "read_uncommitted")];
    let mut reader = Consumer::new(&lab.bootstrap()?, &run.name, &from, 1, &settings)?;
    // The reader must be connected and waiting at the broker before the clock starts: one fetch
    // of an empty topic.
    if !reader.poll(Duration::from_millis(700))?.is_empty() {
        bail!("the new topic {} holds records", run.name);
    }
    let start = Instant::now();
    let mut process = lab.millrace(&run, &sql)?;
    let mut ended = false;
    let taken = loop {
        let patience = Duration::from_millis(if ended { 5000 } else { 20 });
        if !reader.poll_first(patience)?.is_empty() {
            break start.elapsed();
        }
        // A short job may end before its records are read: its end is an error one look later.
        if ended {
            bail!("millrace run ended without a record:\n{}", process.log_tail());
        }
        ended = lab::ended(&mut process, "millrace run")?;
        if start.elapsed() > LIMIT {
            bail!("no record after {} s:\n{}", LIMIT.as_secs(), process.log_tail());
        }
    };
    process.stop(STOP).context("stopping millrace run")?;
    drop(reader);
    lab.clear(&run)?;
    Ok(taken)
}
