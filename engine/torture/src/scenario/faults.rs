//! What brokers, checkpoint folders and other runs can do to a job.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use millrace_testkit::kafka::Kafka;
use millrace_testkit::wait;

use crate::job::{Run, RunOptions};
use crate::workbench::{Line, Summary, Workbench};

const RATE: u64 = 1000;
const LIMIT: Duration = Duration::from_secs(120);

/// A job that restarts by itself, as one with checkpoints does by default.
fn restarting(kafka: &Kafka, name: &str) -> Result<Workbench> {
    let mut bench = Workbench::new(kafka, Line::Plain, name, RATE)?;
    bench.job.option("restart-strategy.type", "fixed-delay");
    bench.job.option("restart-strategy.fixed-delay.attempts", "1000");
    bench.job.option("restart-strategy.fixed-delay.delay", "500 ms");
    Ok(bench)
}

/// Killed once and stopped once, and started again both times.
pub fn broker_restarted(kafka: &mut Kafka) -> Result<Summary> {
    let mut bench = restarting(kafka, "broker-restarted")?;
    let mut run = bench.start(&RunOptions::parallel(2))?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    kafka.kill(0)?;
    kafka.restart(0)?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    kafka.stop(0)?;
    kafka.restart(0)?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// Connections stay open and nothing answers, for so long.
pub fn broker_unreachable(kafka: &mut Kafka, away: Duration) -> Result<Summary> {
    let mut bench = restarting(kafka, "broker-unreachable")?;
    let mut run = bench.start(&RunOptions::parallel(2))?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    kafka.freeze(0)?;
    thread::sleep(away);
    run.expect_running()?;
    kafka.thaw(0)?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// Of three brokers the one goes away that decides the job's transactions: between a checkpoint
/// and its commits, and again under a running job.
pub fn coordinator_moved(kafka: &mut Kafka) -> Result<Summary> {
    let mut bench = restarting(kafka, "coordinator-moved")?;
    ensure!(
        bench.run_to("checkpoint.after-head", 10, 3, LIMIT)?,
        "no checkpoint was completed"
    );
    let coordinator = coordinator_of_open_transactions(kafka, &bench)?;
    kafka.kill(coordinator)?;
    let mut run = bench.start(&RunOptions::parallel(3))?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    kafka.restart(coordinator)?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    let coordinator = coordinator_of_open_transactions(kafka, &bench)?;
    kafka.kill(coordinator)?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    kafka.restart(coordinator)?;
    bench.finish(kafka, run)?;
    ensure!(
        bench.summary.committed > 0,
        "recovery had nothing to commit: the test has lost its meaning"
    );
    Ok(bench.summary)
}

/// The broker (counted from 0) that coordinates most of the job's open transactions.
fn coordinator_of_open_transactions(kafka: &Kafka, bench: &Workbench) -> Result<usize> {
    let prefix = bench.job.transactional_id_prefix.as_str();
    wait::until("an open transaction of the job", LIMIT, || {
        let transactions = kafka.transactions()?;
        let open = transactions
            .iter()
            .filter(|t| t.transactional_id.starts_with(prefix) && t.is_open());
        let mut counts = [0usize; 16];
        for transaction in open {
            counts[(transaction.coordinator as usize).min(15)] += 1;
        }
        let most = (1..16).max_by_key(|id| counts[*id]).filter(|id| counts[*id] > 0);
        Ok(most.map(|id| id - 1))
    })
}

/// A second run of the same job takes over; the first says so and stops, and does no harm.
pub fn second_run(kafka: &Kafka) -> Result<Summary> {
    let mut bench = restarting(kafka, "second-run")?;
    let mut first = bench.start(&RunOptions::parallel(2))?;
    bench.wait_for_progress(&mut first, LIMIT)?;
    let mut second = bench.start(&RunOptions::parallel(2))?;
    let status = first.ended_within(LIMIT)?.with_context(|| {
        format!(
            "the first run goes on beside the second:\n{}",
            first.process.log_tail()
        )
    })?;
    ensure!(
        !status.success(),
        "the first run ended as if nothing had happened"
    );
    says(&first, &["another", "run"])?;
    bench.wait_for_progress(&mut second, LIMIT)?;
    bench.finish(kafka, second)?;
    Ok(bench.summary)
}

/// The broker aborts a transaction that takes longer than its timeout, before the checkpoint that
/// would have held it: the job fails loudly, and loses nothing.
pub fn transaction_timed_out(kafka: &Kafka) -> Result<Summary> {
    let mut bench = Workbench::new(kafka, Line::Plain, "transaction-timed-out", RATE)?;
    let mut run = bench.start(&RunOptions::parallel(1))?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    bench.summary.add(run.stop()?);

    let usual = bench.job.sink.clone();
    bench.job.sink = vec![("properties.transaction.timeout.ms".to_owned(), "1000".to_owned())];
    let slow = ("execution.checkpointing.interval".to_owned(), "5 s".to_owned());
    let mut run = bench.start(&RunOptions {
        options: vec![slow],
        ..RunOptions::parallel(1)
    })?;
    let status = run.ended_within(LIMIT)?.with_context(|| {
        format!(
            "the job goes on without its transaction:\n{}",
            run.process.log_tail()
        )
    })?;
    ensure!(!status.success(), "the job ended as if nothing had happened");
    says(&run, &["transaction"])?;

    bench.job.sink = usual;
    let run = bench.start(&RunOptions::parallel(2))?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// As before, but the checkpoint that holds the transaction is complete: its records are gone,
/// and no run may go on as if they were not.
pub fn prepared_transaction_timed_out(kafka: &Kafka) -> Result<Summary> {
    let mut bench = Workbench::new(kafka, Line::Plain, "prepared-timed-out", RATE)?;
    bench.job.sink = vec![("properties.transaction.timeout.ms".to_owned(), "2000".to_owned())];
    ensure!(
        bench.run_to("checkpoint.after-head", 8, 2, LIMIT)?,
        "no checkpoint was completed"
    );
    let prefix = bench.job.transactional_id_prefix.clone();
    wait::until("the broker to abort the transactions", LIMIT, || {
        let all = kafka.transactions()?;
        let open = all
            .iter()
            .any(|t| t.transactional_id.starts_with(&prefix) && t.is_open());
        Ok((!open).then_some(()))
    })?;
    for _ in 0..2 {
        let mut run = bench.start(&RunOptions::parallel(2))?;
        let status = run.ended_within(LIMIT)?.with_context(|| {
            format!(
                "the job goes on though records are lost:\n{}",
                run.process.log_tail()
            )
        })?;
        ensure!(!status.success(), "the job ended as if nothing had happened");
        says(&run, &["transaction", "lost"])?;
    }
    bench.passed();
    Ok(bench.summary)
}

/// A folder that cannot be written: checkpoints fail, the job goes on, and loses nothing.
pub fn checkpoints_refused(kafka: &Kafka) -> Result<Summary> {
    let mut bench = Workbench::new(kafka, Line::Plain, "checkpoints-refused", RATE)?;
    bench
        .job
        .option("execution.checkpointing.tolerable-failed-checkpoints", "1000000");
    let mut run = bench.start(&RunOptions::parallel(2))?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    let refusal = Refusal::begin(&bench.checkpoints())?;
    run.wait_for_log("checkpoint failed", LIMIT)?;
    let sent = bench.sent();
    wait::until("more input meanwhile", LIMIT, || {
        Ok((bench.sent() > sent + RATE).then_some(()))
    })?;
    run.expect_running()?;
    refusal.end()?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// The same with the default of no tolerated failure: the job fails and says why.
pub fn checkpoints_refused_untolerated(kafka: &Kafka) -> Result<Summary> {
    let mut bench = Workbench::new(kafka, Line::Plain, "checkpoints-untolerated", RATE)?;
    let mut run = bench.start(&RunOptions::parallel(2))?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    let refusal = Refusal::begin(&bench.checkpoints())?;
    let status = run.ended_within(LIMIT)?.with_context(|| {
        format!(
            "the job tolerates failed checkpoints:\n{}",
            run.process.log_tail()
        )
    })?;
    ensure!(!status.success(), "the job ended as if nothing had happened");
    says(&run, &["checkpoint", "tolerable-failed-checkpoints"])?;
    refusal.end()?;
    let run = bench.start(&RunOptions::parallel(1))?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// Puts a file where the folder was. (Permissions refuse root nothing.)
struct Refusal {
    folder: PathBuf,
    away: PathBuf,
}

impl Refusal {
    fn begin(folder: &Path) -> Result<Refusal> {
        let away = folder.with_extension("away");
        fs::rename(folder, &away)?;
        fs::write(folder, "")?;
        Ok(Refusal {
            folder: folder.to_owned(),
            away,
        })
    }

    fn end(self) -> Result<()> {
        fs::remove_file(&self.folder)?;
        Ok(fs::rename(&self.away, &self.folder)?)
    }
}

/// Every way to spoil the files that a run resumes from is found, and said with what to do.
pub fn files_altered(kafka: &Kafka) -> Result<Summary> {
    let mut bench = Workbench::new(kafka, Line::Plain, "files-altered", RATE)?;
    let mut run = bench.start(&RunOptions::parallel(2))?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    bench.summary.add(run.stop()?);
    type Choice = fn(&Path) -> bool;
    let is_metadata: Choice = |file| file.file_name().is_some_and(|name| name == "_metadata");
    let is_head: Choice = |file| file.parent().is_some_and(|folder| folder.ends_with("head"));
    type Damage = fn(&[u8]) -> Vec<u8>;
    let truncated: Damage = |bytes| bytes[..bytes.len() / 2].to_vec();
    let emptied: Damage = |_| Vec::new();
    let altered: Damage = |bytes| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        bytes
    };
    for choice in [is_metadata, is_head] {
        for (what, damage) in [
            ("truncated", truncated),
            ("emptied", emptied),
            ("altered", altered),
        ] {
            // Every start writes a head of its own, so the newest is looked for each time.
            let files = files_below(&bench.checkpoints())?;
            let newest = files
                .iter()
                .filter(|file| choice(file))
                .max_by_key(|file| number_in(file));
            let file = newest.with_context(|| format!("not among {files:?}"))?;
            let good = fs::read(file)?;
            fs::write(file, damage(&good))?;
            let mut run = bench.start(&RunOptions::parallel(2))?;
            let status = run.ended_within(LIMIT)?.with_context(|| {
                format!(
                    "the job goes on from {} {what}:\n{}",
                    file.display(),
                    run.process.log_tail()
                )
            })?;
            ensure!(!status.success(), "the job ended as if nothing had happened");
            says(&run, &["hint:"]).with_context(|| format!("{} {what}", file.display()))?;
            fs::write(file, &good)?;
        }
    }
    let run = bench.start(&RunOptions::parallel(1))?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// The number in the name of the file or of its folder: `chk-12/_metadata`, `head/7`.
fn number_in(path: &Path) -> u64 {
    let digits = |name: Option<&std::ffi::OsStr>| {
        let text: String = name?
            .to_string_lossy()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        text.parse().ok()
    };
    digits(path.file_name())
        .or_else(|| digits(path.parent()?.file_name()))
        .unwrap_or(0)
}

/// The engine's log holds all of the words, in any case.
fn says(run: &Run, words: &[&str]) -> Result<()> {
    let log = run.log().to_lowercase();
    for word in words {
        if !log.contains(word) {
            bail!("the engine does not say '{word}':\n{}", run.process.log_tail());
        }
    }
    Ok(())
}
