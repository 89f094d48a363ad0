//! The process dies at every fail point, at random moments, and while its checkpoints fail, and is
//! started again with another parallelism, chained or not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use millrace_core::failpoint;
use millrace_testkit::kafka::Kafka;
use millrace_testkit::s3::S3;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::refusal::Refusal;
use crate::job::{CHECKPOINT_FAILED, RECOVERED, Run, RunOptions, Shape};
use crate::workbench::{Line, Summary, Workbench};

/// A run that does not reach its fail point within this is killed and counts as a random kill.
const REACH: Duration = Duration::from_secs(10);
/// The same for a job with state by key, whose start and checkpoints take more work.
const REACH_KEYED: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 8;

/// Between two commits of one writer: it has two only when a checkpoint failed before.
const BETWEEN_COMMITS: &str = "sink.between-commits";
/// A death here leaves all of a checkpoint's transactions to the recovery, if there are records by
/// then: the first checkpoints of a run may be over before its first ones come.
const BEFORE_COMMITS: &str = "checkpoint.after-head";

#[derive(Debug, Clone)]
pub struct Kills {
    pub shape: Shape,
    /// The fail points, and how often each is hit.
    pub points: &'static [&'static str],
    pub hits: u32,
    pub random: u32,
    /// Kills while checkpoints fail, or when they do no longer.
    pub failing: u32,
    /// What recovery must have done at least, over all runs.
    pub committed_at_least: u64,
    pub fenced_at_least: u64,
    pub records_per_second: u64,
    pub seed: u64,
}

/// Further deaths there, so that recovery has enough to commit.
const MORE_BEFORE_COMMITS: u32 = 3;

enum Step {
    Point(&'static str),
    Random,
    Failing,
}

struct Killer {
    bench: Workbench,
    rng: StdRng,
    /// What is taken away for checkpoints to fail.
    place: PathBuf,
    hits: BTreeMap<&'static str, u32>,
}

/// Kills as told, then lets the job catch up and checks its output.
pub fn run(kafka: &Kafka, line: Line, s3: Option<&S3>, kills: &Kills) -> Result<Summary> {
    let mut bench = Workbench::of(kafka, line, kills.shape, "kills", kills.records_per_second)?;
    if kills.shape == Shape::Keyed {
        // So little that rows are written back and read again between checkpoints too.
        bench.job.option("taskmanager.memory.managed.size", "4mb");
        let copies = bench.folder.join("copies").display().to_string();
        bench
            .job
            .option("execution.checkpointing.local-backup.dirs", copies);
    }
    bench
        .job
        .option("execution.checkpointing.tolerable-failed-checkpoints", "1000000");
    let mut place = bench.checkpoints();
    if let Some(s3) = s3 {
        bench.use_s3(s3);
        place = s3.bucket();
    }
    ensure!(
        !kills.points.is_empty() && kills.hits > 0,
        "no fail point is to be hit"
    );
    let points = kills
        .points
        .iter()
        .flat_map(|name| (0..kills.hits).map(|_| Step::Point(name)));
    let mut steps: Vec<Step> = points
        .chain((0..MORE_BEFORE_COMMITS).map(|_| Step::Point(BEFORE_COMMITS)))
        .chain((0..kills.random).map(|_| Step::Random))
        .chain((0..kills.failing).map(|_| Step::Failing))
        .collect();
    let mut rng = StdRng::seed_from_u64(kills.seed);
    steps.shuffle(&mut rng);

    let mut killer = Killer {
        bench,
        rng,
        place,
        hits: BTreeMap::new(),
    };
    for step in steps {
        match step {
            Step::Point(name) => killer.hit(name).with_context(|| format!("fail point {name}"))?,
            Step::Random => killer.random()?,
            Step::Failing => killer.failing()?,
        }
    }
    for name in failpoint::ALL {
        let count = killer.hits.get(name).copied().unwrap_or(0);
        println!("  {name:<32} {count}");
        let wanted = if kills.points.contains(name) {
            kills.hits
        } else {
            0
        };
        ensure!(
            count >= wanted,
            "fail point {name} was hit {count} times instead of {wanted}"
        );
    }
    let mut bench = killer.bench;
    let last = bench.start(&RunOptions::parallel(2))?;
    bench.finish(kafka, last)?;
    let summary = bench.summary;
    let seen = [
        (
            "transactions committed by recovery",
            summary.committed,
            kills.committed_at_least,
        ),
        ("ids fenced by recovery", summary.fenced, kills.fenced_at_least),
        (
            "recoveries between two commits",
            summary.torn,
            match kills.points.contains(&BETWEEN_COMMITS) {
                true => u64::from(kills.hits),
                false => 0,
            },
        ),
        (
            "failed checkpoints",
            summary.failed_checkpoints,
            u64::from(kills.failing),
        ),
        ("different parallelisms", summary.parallelisms.len() as u64, 2),
        ("restores at another parallelism", u64::from(summary.rescaled), 1),
    ];
    for (what, count, at_least) in seen {
        ensure!(
            count >= at_least,
            "{what}: {count}; the test is meant to see {at_least}"
        );
    }
    Ok(summary)
}

impl Killer {
    /// Whether operators are chained may change from run to run; unchained, each stands behind a
    /// channel and a gate. So may whether what goes through channels goes as bytes,
    /// and whether state is read from copies on this machine.
    fn options(&mut self, parallelism: std::ops::RangeInclusive<usize>) -> RunOptions {
        let choices = [
            ("pipeline.operator-chaining.enabled", self.rng.random_bool(0.6)),
            ("millrace.test.wire", self.rng.random_bool(0.3)),
            ("execution.state-recovery.from-local", self.rng.random_bool(0.5)),
        ];
        RunOptions {
            options: choices
                .map(|(key, value)| (key.to_owned(), value.to_string()))
                .into(),
            ..RunOptions::parallel(self.rng.random_range(parallelism))
        }
    }

    /// From within the start to after several checkpoints.
    fn random(&mut self) -> Result<()> {
        let options = self.options(1..=4);
        let mut run = self.bench.start(&options)?;
        let delay = Duration::from_millis(self.rng.random_range(20..2000));
        ensure!(
            run.ended_within(delay)?.is_none(),
            "the engine ended by itself:\n{}",
            run.process.log_tail()
        );
        self.bench.killed(&run.kill()?);
        Ok(())
    }

    /// Sinks hold transactions of several checkpoints. Either none of these is ever complete, or the
    /// death comes about when they commit.
    fn failing(&mut self) -> Result<()> {
        let options = self.options(1..=4);
        let mut run = self.bench.start(&options)?;
        self.bench.wait_for_progress(&mut run, LIMIT)?;
        let refusal = Refusal::begin(&self.place)?;
        run.wait_for_logs(CHECKPOINT_FAILED, self.rng.random_range(1..=6), LIMIT)?;
        let report = if self.rng.random_bool(0.4) {
            let report = run.kill()?;
            refusal.end()?;
            report
        } else {
            refusal.end()?;
            let delay = Duration::from_millis(self.rng.random_range(0..500));
            ensure!(
                run.ended_within(delay)?.is_none(),
                "the engine ended by itself:\n{}",
                run.process.log_tail()
            );
            run.kill()?
        };
        self.bench.killed(&report);
        Ok(())
    }

    /// Runs until the point is reached.
    fn hit(&mut self, name: &'static str) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            let is_hit = match name {
                BETWEEN_COMMITS => self.between_commits()?,
                _ => self.point(name, attempt)?,
            };
            if is_hit {
                *self.hits.entry(name).or_default() += 1;
                return Ok(());
            }
        }
        bail!("not reached in {ATTEMPTS} runs")
    }

    fn point(&mut self, name: &'static str, attempt: u32) -> Result<bool> {
        let is_recovery = name.starts_with("recovery.");
        if is_recovery {
            // It has something to commit only after such a death, and two things only with two subtasks.
            let options = self.options(2..=4);
            let passage = self.before_commits() + attempt;
            if self
                .bench
                .run_to(BEFORE_COMMITS, passage, options, self.reach())?
            {
                *self.hits.entry(BEFORE_COMMITS).or_default() += 1;
            }
        }
        let passages = match name {
            BEFORE_COMMITS => {
                let passage = self.before_commits();
                passage..=passage
            }
            // Recovery passes its points a few times at most.
            _ if is_recovery || attempt > 0 => 1..=1,
            _ => 1..=4,
        };
        let options = self.options(1..=4);
        let passage = self.rng.random_range(passages);
        self.bench.run_to(name, passage, options, self.reach())
    }

    fn reach(&self) -> Duration {
        match self.bench.job.shape {
            Shape::Keyed => REACH_KEYED,
            Shape::Chain | Shape::Union => REACH,
        }
    }

    /// At which checkpoint of a run there are records to commit.
    fn before_commits(&mut self) -> u32 {
        match self.bench.job.shape {
            Shape::Keyed => self.rng.random_range(2..=3),
            Shape::Chain | Shape::Union => self.rng.random_range(5..=8),
        }
    }

    /// Two in a row.
    fn checkpoints_fail(&self, run: &mut Run) -> Result<()> {
        self.bench.wait_for_progress(run, LIMIT)?;
        let refusal = Refusal::begin(&self.place)?;
        let failed = run.wait_for_logs(CHECKPOINT_FAILED, 2, LIMIT);
        refusal.end()?;
        failed
    }

    /// The next recovery must find what the death has left: a part of it committed, the rest open.
    fn between_commits(&mut self) -> Result<bool> {
        let options = RunOptions {
            fail_point: Some((BETWEEN_COMMITS, 1)),
            ..self.options(1..=4)
        };
        let mut run = self.bench.start(&options)?;
        let failed = self.checkpoints_fail(&mut run);
        // Where commits are slow, those of two checkpoints meet: then it is dead by now.
        if run.process.ended()?.is_none() {
            failed?;
        }
        if !self.bench.died_at(&mut run, BETWEEN_COMMITS, self.reach())? {
            return Ok(false);
        }
        let options = self.options(1..=4);
        let mut next = self.bench.start(&options)?;
        next.wait_for_log(RECOVERED, LIMIT)?;
        let report = next.kill()?;
        self.bench.killed(&report);
        Ok(report.torn > 0)
    }
}
