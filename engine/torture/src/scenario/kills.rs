//! The process dies at every fail point and at random moments, and is started again with another
//! parallelism.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_core::failpoint;
use millrace_testkit::kafka::Kafka;
use millrace_testkit::s3::S3;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::job::RunOptions;
use crate::workbench::{Line, Summary, Workbench};

/// A run that does not reach its fail point within this is killed and counts as a random kill.
const REACH: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 8;

#[derive(Debug, Clone)]
pub struct Kills {
    /// How often each fail point is hit.
    pub hits: u32,
    pub random: u32,
    /// What recovery must have done at least, over all runs.
    pub committed_at_least: u64,
    pub fenced_at_least: u64,
    pub records_per_second: u64,
    pub seed: u64,
}

enum Step {
    Point(&'static str),
    Random,
}

/// Kills as told, then lets the job catch up and checks its output.
pub fn run(kafka: &Kafka, line: Line, s3: Option<&S3>, kills: &Kills) -> Result<Summary> {
    let mut rng = StdRng::seed_from_u64(kills.seed);
    let mut bench = Workbench::new(kafka, line, "kills", kills.records_per_second)?;
    if let Some(s3) = s3 {
        for (key, value) in s3.options() {
            bench.job.option(key, value);
        }
        bench
            .job
            .option("execution.checkpointing.dir", s3.url("checkpoints"));
    }
    let points = failpoint::ALL
        .iter()
        .flat_map(|name| (0..kills.hits).map(|_| Step::Point(name)));
    let mut steps: Vec<Step> = points.chain((0..kills.random).map(|_| Step::Random)).collect();
    steps.shuffle(&mut rng);

    let mut hits: BTreeMap<&str, u32> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Point(name) => {
                hit(&mut bench, &mut rng, name, &mut hits).with_context(|| format!("fail point {name}"))?;
            }
            Step::Random => {
                let mut run = bench.start(&RunOptions::parallel(rng.random_range(1..=4)))?;
                // From within the start to after several checkpoints.
                let delay = Duration::from_millis(rng.random_range(20..2000));
                ensure!(
                    run.ended_within(delay)?.is_none(),
                    "the engine ended by itself:\n{}",
                    run.process.log_tail()
                );
                let recovered = run.kill()?;
                bench.killed(recovered);
            }
        }
    }
    for name in failpoint::ALL {
        let count = hits.get(name).copied().unwrap_or(0);
        println!("  {name:<32} {count}");
        ensure!(
            count >= kills.hits,
            "fail point {name} was hit {count} times instead of {}",
            kills.hits
        );
    }

    let last = bench.start(&RunOptions::parallel(2))?;
    bench.finish(kafka, last)?;
    let summary = bench.summary.clone();
    ensure!(
        summary.committed >= kills.committed_at_least,
        "recovery committed {} transactions; the test is meant to see {}",
        summary.committed,
        kills.committed_at_least
    );
    ensure!(
        summary.fenced >= kills.fenced_at_least,
        "recovery fenced {} ids; the test is meant to see {}",
        summary.fenced,
        kills.fenced_at_least
    );
    Ok(summary)
}

/// Runs until the point is reached.
fn hit(
    bench: &mut Workbench,
    rng: &mut StdRng,
    name: &'static str,
    hits: &mut BTreeMap<&'static str, u32>,
) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        if name.starts_with("recovery.") {
            // Recovery has something to commit only after a death between a checkpoint and its
            // commits, and two things only with two subtasks. The first checkpoints of a run may
            // be over before its first records are there.
            let before = "checkpoint.after-head";
            if bench.run_to(
                before,
                rng.random_range(3..=5) + attempt,
                rng.random_range(2..=4),
                REACH,
            )? {
                *hits.entry(before).or_default() += 1;
            }
        }
        // Recovery passes its points a few times at most.
        let passages = if attempt > 0 || name.starts_with("recovery.") {
            1
        } else {
            4
        };
        let parallelism = if name.contains("between") {
            rng.random_range(2..=4)
        } else {
            rng.random_range(1..=4)
        };
        if bench.run_to(name, rng.random_range(1..=passages), parallelism, REACH)? {
            *hits.entry(name).or_default() += 1;
            return Ok(());
        }
    }
    anyhow::bail!("not reached in {ATTEMPTS} runs")
}
