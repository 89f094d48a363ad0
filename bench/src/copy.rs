//! The yardstick: a bare copy loop on librdkafka, consume -> transactional produce.
//!
//! It reads in batches, decodes nothing and keeps no state; every record is copied; a transaction is
//! committed each second, after a check that every delivery was reported, as a sink must make that
//! hands its transaction over to somebody else's commit. As many loops as the engines have subtasks,
//! each with partitions, a consumer and a producer of its own.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::client::{Consumer, Offsets, Producer};

const COMMIT_EACH: Duration = Duration::from_secs(1);
/// Messages in one batch call.
const BATCH: usize = 4096;

/// `millrace-bench copy`: what the pass-through benchmark starts as a process of its own.
#[derive(Debug, Args, Clone)]
pub struct Options {
    #[arg(long)]
    pub bootstrap: String,
    #[arg(long)]
    pub input: String,
    #[arg(long)]
    pub output: String,
    #[arg(long, default_value_t = 4)]
    pub partitions: i32,
    /// Loops side by side; the partitions are shared out among them
    #[arg(long, default_value_t = 2)]
    pub loops: i32,
}

/// Copies what the input holds now.
pub fn run(options: &Options) -> Result<()> {
    let ends = Offsets::new(&options.bootstrap, &options.input, options.partitions)?.ends()?;
    let each: Vec<_> = (0..options.loops)
        .map(|number| {
            let (options, ends) = (options.clone(), ends.clone());
            thread::Builder::new()
                .name(format!("copy-{number}"))
                .spawn(move || copy(&options, number, &ends))
        })
        .collect::<Result<_, _>>()
        .context("starting the loops")?;
    for one in each {
        one.join().map_err(|_| anyhow!("a copy loop panicked"))??;
    }
    Ok(())
}

/// One loop, over the partitions that fall to it.
fn copy(options: &Options, number: i32, ends: &[i64]) -> Result<()> {
    let mine = |partition: i32| partition % options.loops == number;
    // Partitions that still have records before their end, by number.
    let mut open: Vec<bool> = (0..options.partitions)
        .zip(ends)
        .map(|(partition, end)| mine(partition) && *end > 0)
        .collect();
    let from: Vec<(i32, i64)> = (0..options.partitions)
        .filter(|p| mine(*p))
        .map(|p| (p, 0))
        .collect();
    let mut input = Consumer::new(
        &options.bootstrap,
        &options.input,
        &from,
        BATCH,
        &[
            ("fetch.message.max.bytes", "8388608"),
            ("queued.min.messages", "400000"),
            // A full queue rests for a second by default, and the loop with it.
            ("fetch.queue.backoff.ms", "1"),
        ],
    )?;
    let id = format!("{}-{number}", options.output);
    let mut output = Producer::new(
        &options.bootstrap,
        &options.output,
        &[
            ("transactional.id", &id),
            ("linger.ms", "20"),
            ("batch.num.messages", "100000"),
            ("batch.size", "1000000"),
            ("queue.buffering.max.messages", "1000000"),
            ("queue.buffering.max.kbytes", "1000000"),
        ],
    )?;
    output.init_transactions()?;
    output.begin()?;
    let mut begun = Instant::now();
    let mut written = 0;
    while open.contains(&true) {
        let batch = input.poll(Duration::from_millis(100))?;
        output.copy(&batch)?;
        written += batch.len() as u64;
        for message in batch.iter() {
            let partition = message.partition() as usize;
            if message.offset() + 1 >= ends[partition] {
                open[partition] = false;
            }
        }
        drop(batch);
        output.serve(Duration::ZERO);
        if begun.elapsed() >= COMMIT_EACH {
            commit(&output, written)?;
            output.begin()?;
            begun = Instant::now();
        }
    }
    commit(&output, written)
}

fn commit(output: &Producer, written: u64) -> Result<()> {
    output.flush()?;
    if output.reported() != written {
        bail!(
            "{written} messages were written, {} deliveries were reported",
            output.reported()
        );
    }
    output.commit()
}
