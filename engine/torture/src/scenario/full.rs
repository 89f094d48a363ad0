//! The checkpoint folder's disk is full.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_testkit::kafka::Kafka;
use millrace_testkit::wait;

use super::inside::{self, Namespaces};
use crate::job::{CHECKPOINT_FAILED, RunOptions};
use crate::workbench::{Line, Summary, Workbench};

pub const NAME: &str = "checkpoint-folder-full";
const RATE: u64 = 1000;
const LIMIT: Duration = Duration::from_secs(120);
const WHOLE: Duration = Duration::from_secs(600);
const PAGE: u64 = 4096;
/// Enough for handles to fill more than a page.
const FAILURES: usize = 12;
const NO_ROOM: &str = "No space left on device";

/// A small disk has to be mounted, which with a user namespace needs no root.
const NAMESPACES: Namespaces<'_> = Namespaces {
    ways: &[&["--mount"], &["--mount", "--map-root-user"]],
    probe: "mount -t tmpfs tmpfs \"$1\"",
    why: "only root or a user namespace can mount a small disk, and neither is to be had",
    limit: WHOLE,
};

pub fn run(seed: u64, kafka: fn() -> &'static Kafka) -> Result<Summary> {
    inside::run(NAME, seed, &NAMESPACES, || full(kafka()))
}

/// A file that takes all the room there is.
struct Ballast(PathBuf);

impl Ballast {
    fn on(disk: &Path) -> Ballast {
        Ballast(disk.join("ballast"))
    }

    /// Leaves so many pages: what is longer than that is written in part.
    fn fill(&self, pages: u64) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(&self.0)?;
        for size in [64 << 10, PAGE as usize] {
            while match file.write(&vec![0; size]) {
                Ok(written) => written > 0,
                Err(e) if e.kind() == ErrorKind::StorageFull => false,
                Err(e) => return Err(e.into()),
            } {}
        }
        let length = file.metadata()?.len();
        Ok(file.set_len(length.saturating_sub(pages * PAGE))?)
    }

    fn remove(&self) -> Result<()> {
        Ok(fs::remove_file(&self.0)?)
    }
}

/// Checkpoints fail, and say for want of what; the job goes on; a death meanwhile loses nothing; with
/// room again all is completed.
fn full(kafka: &Kafka) -> Result<Summary> {
    let mut bench = Workbench::new(kafka, Line::Plain, "folder-full", RATE)?;
    let disk = bench.folder.join("disk");
    fs::create_dir(&disk)?;
    mount(&disk)?;
    bench.job.option(
        "execution.checkpointing.dir",
        format!("file://{}", disk.join("checkpoints").display()),
    );
    bench
        .job
        .option("execution.checkpointing.tolerable-failed-checkpoints", "1000000");
    let ballast = Ballast::on(&disk);
    let mut run = bench.start(&RunOptions::parallel(3))?;
    for failures in [FAILURES, 2 * FAILURES] {
        bench.wait_for_progress(&mut run, LIMIT)?;
        // A checkpoint that was under way may have made room; each failure adds handles to the next
        // one's description, so that it is longer than a page soon.
        let mut pages = 0;
        wait::until("checkpoints that fail for want of room", LIMIT, || {
            pages = (pages + 1) % 3;
            ballast.fill(pages)?;
            let log = run.log();
            let is_full = log.matches(NO_ROOM).count() >= failures / 2;
            Ok((is_full && log.matches(CHECKPOINT_FAILED).count() >= failures).then_some(()))
        })
        .with_context(|| run.process.log_tail())?;
        let before = bench.written()?;
        wait::until("more output meanwhile", LIMIT, || {
            Ok((bench.written()? > before).then_some(()))
        })
        .with_context(|| run.process.log_tail())?;
        if failures == FAILURES {
            run.expect_running()?;
            ballast.remove()?;
        }
    }
    ballast.fill(0)?;
    bench.killed(&run.kill()?);
    // Nobody can take the job over without writing that down.
    let mut refused = bench.start(&RunOptions::parallel(2))?;
    let status = refused
        .ended_within(LIMIT)?
        .with_context(|| format!("the job runs on a full disk:\n{}", refused.process.log_tail()))?;
    ensure!(!status.success(), "the job ended as if nothing had happened");
    for text in [NO_ROOM, "make room on that disk"] {
        ensure!(
            refused.log().contains(text),
            "the engine does not say '{text}':\n{}",
            refused.process.log_tail()
        );
    }
    ballast.remove()?;
    let run = bench.start(&RunOptions::parallel(2))?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// A MiB of memory as a disk. It goes with the namespace.
fn mount(folder: &Path) -> Result<()> {
    let mut command = Command::new("mount");
    command
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(folder);
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "mount: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
