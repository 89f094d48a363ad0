//! What brokers, checkpoint folders and other runs can do to a job.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use millrace_testkit::kafka::Kafka;
use millrace_testkit::wait;

use super::refusal::Refusal;
use crate::job::{CHECKPOINT_FAILED, Run, RunOptions};
use crate::workbench::{Line, Summary, Workbench};

pub(super) const RATE: u64 = 1000;
pub(super) const LIMIT: Duration = Duration::from_secs(120);
/// What a run says that another one has deposed.
const TAKEN_OVER: &str = "another run of this job has taken over";

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
/// and its commits, and so many times more under a running job.
pub fn coordinator_moved(kafka: &mut Kafka, more: u32) -> Result<Summary> {
    let mut bench = restarting(kafka, "coordinator-moved")?;
    let coordinator = die_before_commits(kafka, &mut bench, 3)?;
    kafka.kill(coordinator)?;
    let mut run = bench.start(&RunOptions::parallel(3))?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    kafka.restart(coordinator)?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    for _ in 0..more {
        let coordinator = coordinator_of_open_transactions(kafka, &bench)?;
        kafka.kill(coordinator)?;
        bench.wait_for_progress(&mut run, LIMIT)?;
        kafka.restart(coordinator)?;
    }
    bench.finish(kafka, run)?;
    ensure!(
        bench.summary.committed > 0,
        "recovery had nothing to commit: the test has lost its meaning"
    );
    Ok(bench.summary)
}

/// Runs until a checkpoint is complete whose transactions are not committed; the broker (counted from 0) that
/// coordinates most of them.
fn die_before_commits(kafka: &Kafka, bench: &mut Workbench, parallelism: usize) -> Result<usize> {
    // On a busy machine the first checkpoints are over before the first records come.
    for passage in [10, 20, 40, 80] {
        ensure!(
            bench.run_to(
                "checkpoint.after-head",
                passage,
                RunOptions::parallel(parallelism),
                LIMIT
            )?,
            "no checkpoint was completed"
        );
        if let Some(coordinator) = coordinator_now(kafka, bench)? {
            return Ok(coordinator);
        }
    }
    bail!("no checkpoint held records: the test has lost its meaning")
}

/// The broker that coordinates most of the job's open transactions, once there are some.
fn coordinator_of_open_transactions(kafka: &Kafka, bench: &Workbench) -> Result<usize> {
    wait::until("an open transaction of the job", LIMIT, || {
        coordinator_now(kafka, bench)
    })
}

fn coordinator_now(kafka: &Kafka, bench: &Workbench) -> Result<Option<usize>> {
    let prefix = bench.job.transactional_id_prefix.as_str();
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
}

/// The run ends, because another one has taken its place, and says so.
fn gives_way(first: &mut Run) -> Result<()> {
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
    says(first, TAKEN_OVER)
}

/// A second run of the same job takes over; the first says so and stops, and does no harm.
pub fn second_run(kafka: &Kafka) -> Result<Summary> {
    let mut bench = restarting(kafka, "second-run")?;
    let mut first = bench.start(&RunOptions::parallel(2))?;
    bench.wait_for_progress(&mut first, LIMIT)?;
    let mut second = bench.start(&RunOptions::parallel(2))?;
    gives_way(&mut first)?;
    bench.wait_for_progress(&mut second, LIMIT)?;
    bench.finish(kafka, second)?;
    Ok(bench.summary)
}

/// The first run sleeps through its successor's take-over and wakes up with all that it had: the
/// right to complete checkpoints, open transactions, records to write. It finds out and stops,
/// nothing of it is left open, and it does no harm.
pub fn zombie(kafka: &Kafka) -> Result<Summary> {
    let mut bench = restarting(kafka, "zombie")?;
    let mut first = bench.start(&RunOptions::parallel(3))?;
    bench.wait_for_progress(&mut first, LIMIT)?;
    first.process.freeze()?;
    let mut second = bench.start(&RunOptions::parallel(2))?;
    bench.wait_for_progress(&mut second, LIMIT)?;
    first.process.thaw()?;
    gives_way(&mut first)?;
    // While the second one runs: what the first may have opened last is ended by nobody else.
    let prefix = format!("{}-1-", bench.job.transactional_id_prefix);
    wait::until("the end of the first run's transactions", LIMIT, || {
        let open = kafka.transactions()?.into_iter().any(|t| {
            let ours = t.transactional_id.starts_with(&prefix);
            ours && t.is_open()
        });
        Ok((!open).then_some(()))
    })?;
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
    bench.summary.add(&run.stop()?);

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
    says(&run, "was open for longer than its timeout")?;

    bench.job.sink = usual;
    let run = bench.start(&RunOptions::parallel(2))?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// As before, but the checkpoint that holds the transaction is complete: its records are gone,
/// and no run may go on as if they were not.
pub fn prepared_transaction_timed_out(kafka: &Kafka) -> Result<Summary> {
    let mut bench = Workbench::new(kafka, Line::Plain, "prepared-timed-out", RATE)?;
    bench.job.sink = vec![("properties.transaction.timeout.ms".to_owned(), "10000".to_owned())];
    die_before_commits(kafka, &mut bench, 2)?;
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
        says(&run, "can no longer be committed: its records are lost")?;
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
    // What is read is written on, in one open transaction after another.
    for failures in [1, 6, 12, 18] {
        run.wait_for_logs(CHECKPOINT_FAILED, failures, LIMIT)?;
        let before = bench.written()?;
        wait::until("more output meanwhile", LIMIT, || {
            Ok((bench.written()? > before).then_some(()))
        })
        .with_context(|| run.process.log_tail())?;
    }
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
    says(
        &run,
        "1 failed, execution.checkpointing.tolerable-failed-checkpoints is 0",
    )?;
    refusal.end()?;
    let run = bench.start(&RunOptions::parallel(1))?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// The engine's log holds the text.
pub(super) fn says(run: &Run, text: &str) -> Result<()> {
    ensure!(
        run.log().contains(text),
        "the engine does not say '{text}':\n{}",
        run.process.log_tail()
    );
    Ok(())
}
