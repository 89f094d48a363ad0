//! Scenarios that change what the whole machine has, such as mounts and packet filters, run in another process of this
//! program, in namespaces of its own, which leaves nothing behind.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_testkit::process::Process;
use millrace_testkit::scratch::Scratch;

use crate::workbench::{Impossible, Summary};

/// Set in that process: where its summary goes.
const INSIDE: &str = "MILLRACE_TORTURE_INSIDE";
const PROBE: Duration = Duration::from_secs(60);

/// How a scenario comes to its namespaces.
pub struct Namespaces<'a> {
    /// Arguments of `unshare`, of which the first that works are taken.
    pub ways: &'a [&'a [&'a str]],
    /// A shell script that succeeds where they work; its first argument is a folder.
    pub probe: &'a str,
    /// What is missing where none does.
    pub why: &'static str,
    /// For the whole scenario.
    pub limit: Duration,
}

/// Runs the scenario of this name, which is `body`, in namespaces.
pub fn run(
    name: &str,
    seed: u64,
    namespaces: &Namespaces<'_>,
    body: impl FnOnce() -> Result<Summary>,
) -> Result<Summary> {
    if let Some(file) = std::env::var_os(INSIDE) {
        let summary = body()?;
        fs::write(file, serde_json::to_vec(&summary)?)?;
        return Ok(summary);
    }
    let scratch = Scratch::new("inside")?;
    let Some(way) = way(namespaces, &scratch)? else {
        return Err(Impossible(namespaces.why).into());
    };
    let result = scratch.join("summary.json");
    let mut command = Command::new("unshare");
    command
        .args(way)
        .arg(std::env::current_exe()?)
        .arg(name)
        .arg(format!("--seed={seed}"))
        .env(INSIDE, &result);
    let mut process = Process::start(command, &scratch.join("inside.log"))?;
    let status = process.wait(namespaces.limit)?;
    ensure!(status.success(), "{}", process.log_tail());
    print!("{}", notes(&fs::read_to_string(process.log())?));
    Ok(serde_json::from_slice(&fs::read(&result)?)?)
}

fn way<'a>(namespaces: &Namespaces<'a>, scratch: &Scratch) -> Result<Option<&'a [&'a str]>> {
    for way in namespaces.ways {
        let mut command = Command::new("unshare");
        command.args(*way).args(["sh", "-c", namespaces.probe, "probe"]);
        command.arg(scratch.path());
        let mut process = Process::start(command, &scratch.join("probe.log"))?;
        if process.wait(PROBE)?.success() {
            return Ok(Some(way));
        }
    }
    Ok(None)
}

/// What the scenario printed of itself.
fn notes(log: &str) -> String {
    let lines = log.lines().filter(|line| line.starts_with("  "));
    lines.map(|line| format!("{line}\n")).collect()
}
