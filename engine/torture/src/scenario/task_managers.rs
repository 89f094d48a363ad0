//! A JobManager and TaskManagers, each a process: TaskManagers are killed, frozen and replaced under the job.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_testkit::kafka::Kafka;
use millrace_testkit::process::Process;
use millrace_testkit::{engine, ports};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::job::{RunOptions, Shape};
use crate::workbench::{Line, Summary, Workbench};

const LIMIT: Duration = Duration::from_secs(60);
const TASK_MANAGERS: usize = 3;

/// How often one is killed, and how often frozen until it is taken for lost.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub kills: u32,
    pub freezes: u32,
    pub seed: u64,
}

/// Processes that run subtasks, a slot each.
struct TaskManagers {
    folder: PathBuf,
    port: u16,
    running: Vec<Process>,
    started: u32,
}

impl TaskManagers {
    fn start(&mut self) -> Result<()> {
        self.started += 1;
        let mut command = engine::command()?;
        command.arg("taskmanager");
        let log = self.folder.join(format!("task-manager-{:03}.log", self.started));
        let port = self.port.to_string();
        let state = self
            .folder
            .join(format!("state-{}", self.started))
            .display()
            .to_string();
        for (key, value) in [
            ("jobmanager.rpc.address", "127.0.0.1"),
            ("jobmanager.rpc.port", port.as_str()),
            ("taskmanager.host", "127.0.0.1"),
            ("heartbeat.interval", "500 ms"),
            ("heartbeat.timeout", "3 s"),
            ("state.backend.rocksdb.localdir", state.as_str()),
        ] {
            command.arg("-D").arg(format!("{key}={value}"));
        }
        self.running.push(Process::start(command, &log)?);
        Ok(())
    }
}

pub fn lost(kafka: &Kafka, shape: Shape, faults: Faults) -> Result<Summary> {
    let mut bench = Workbench::of(kafka, Line::Plain, shape, "task-managers", 1000)?;
    let port = ports::free()?;
    for (key, value) in [
        ("jobmanager.rpc.port", port.to_string().as_str()),
        ("heartbeat.interval", "500 ms"),
        ("heartbeat.timeout", "3 s"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1000"),
        ("restart-strategy.fixed-delay.delay", "0 ms"),
        // Rows go from one process to another.
        ("pipeline.operator-chaining.enabled", "false"),
    ] {
        bench.job.option(key, value);
    }
    let mut run = bench.start(&RunOptions {
        on_task_managers: true,
        ..RunOptions::parallel(TASK_MANAGERS)
    })?;
    let mut rng = StdRng::seed_from_u64(faults.seed);
    let mut managers = TaskManagers {
        folder: bench.folder.path().to_owned(),
        port,
        running: Vec::new(),
        started: 0,
    };
    for _ in 0..TASK_MANAGERS {
        managers.start()?;
    }
    bench.wait_for_progress(&mut run, LIMIT)?;
    for fault in 0..faults.kills + faults.freezes {
        thread::sleep(Duration::from_millis(rng.random_range(0..1500)));
        let victim = rng.random_range(0..managers.running.len());
        let is_kill = fault < faults.kills;
        let mut victim = managers.running.swap_remove(victim);
        if is_kill {
            victim.kill()?;
            managers.start()?;
        } else {
            victim.freeze()?;
            managers.start()?;
            run.wait_for_logs("TaskManager lost", fault as usize + 1, LIMIT)?;
            bench.wait_for_progress(&mut run, LIMIT)?;
            // It wakes up with all that it had, finds itself deposed, and is a TaskManager like any other.
            victim.thaw()?;
            managers.running.push(victim);
        }
        bench.wait_for_progress(&mut run, LIMIT)?;
    }
    let lost = run.log().matches("TaskManager lost").count();
    ensure!(
        lost >= (faults.kills + faults.freezes) as usize,
        "{lost} TaskManagers were lost"
    );
    let run = bench.catch_up(run)?;
    let report = run.stop()?;
    bench.summary.add(&report);
    bench.summary.kills = faults.kills;
    bench.check(kafka)?;
    bench.passed();
    Ok(bench.summary)
}
