//! The `flink` command of Apache Flink, from PyPI, against our cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use millrace_testkit::scratch::Scratch;
use millrace_testkit::{flink, wait};

use crate::cluster::{Cluster, LIMIT};
use crate::contract::jobs;

/// Runs the command; gives what it printed. An error has that too.
fn flink(cluster: &Cluster, folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = flink::command_line(folder, cluster.port, arguments)?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "flink {}: {}\n{text}",
        arguments.join(" "),
        output.status
    );
    Ok(text)
}

/// The path that follows some words in what was printed.
fn path_after(text: &str, words: &str) -> Result<PathBuf> {
    let (_, rest) = text
        .split_once(words)
        .with_context(|| format!("no '{words}' in: {text}"))?;
    let path = rest.split_whitespace().next().unwrap_or_default();
    Ok(PathBuf::from(path.trim_start_matches("file:")))
}

fn wait_for_checkpoint(cluster: &Cluster, job: &str) -> Result<()> {
    wait::until("a checkpoint", LIMIT, || {
        let checkpoints = cluster.client.get(&format!("/jobs/{job}/checkpoints"))?;
        Ok((checkpoints["counts"]["completed"].as_u64() >= Some(1)).then_some(()))
    })
}

#[test]
fn lists_saves_stops_and_cancels() -> Result<()> {
    let cluster = Cluster::start("command-line", 1, 4, &[])?;
    let own = Scratch::new("flink-command-line")?;
    let run = |arguments: &[&str]| flink(&cluster, own.path(), arguments);
    let job = cluster.run(jobs::RUNS)?;
    cluster.reaches(&job, "RUNNING")?;
    wait_for_checkpoint(&cluster, &job)?;

    let listed = run(&["list"])?;
    ensure!(listed.contains(&format!("{job} : runs (RUNNING)")), "{listed}");

    let target = cluster.folder.path().join("savepoints").display().to_string();
    let saved = run(&["savepoint", &job, &target])?;
    let savepoint = path_after(&saved, "Savepoint completed. Path:")?;
    ensure!(savepoint.join("_metadata").is_file(), "{saved}");
    let disposed = run(&["savepoint", "-d", &savepoint.display().to_string()])?;
    ensure!(disposed.contains("disposed"), "{disposed}");
    ensure!(!savepoint.exists(), "{} is there still", savepoint.display());

    let taken = run(&["checkpoint", &job])?;
    ensure!(
        taken.contains("Checkpoint") && taken.contains(&format!("for job {job} completed.")),
        "{taken}"
    );

    // What goes wrong is told in the engine's words.
    let failed = run(&["savepoint", &job, "/proc/nowhere"]);
    let told = format!("{:#}", failed.err().context("a savepoint in /proc")?);
    ensure!(told.contains("/proc/nowhere"), "{told}");
    ensure!(
        !told.contains("NullPointerException") && !told.contains("Jackson"),
        "{told}"
    );

    let stopped = run(&["stop", "--savepointPath", &target, &job])?;
    let savepoint = path_after(&stopped, "Savepoint completed. Path:")?;
    ensure!(savepoint.join("_metadata").is_file(), "{stopped}");
    cluster.reaches(&job, "FINISHED")?;
    let all = run(&["list", "-a"])?;
    ensure!(all.contains(&format!("{job} : runs (FINISHED)")), "{all}");

    let drained = cluster.run(jobs::RUNS)?;
    cluster.reaches(&drained, "RUNNING")?;
    let stopped = run(&["stop", "--drain", "--savepointPath", &target, &drained])?;
    ensure!(stopped.contains("Savepoint completed."), "{stopped}");
    cluster.reaches(&drained, "FINISHED")?;

    let cancelled = cluster.run(jobs::RUNS)?;
    cluster.reaches(&cancelled, "RUNNING")?;
    let told = run(&["cancel", &cancelled])?;
    ensure!(told.contains("Cancelled job"), "{told}");
    cluster.reaches(&cancelled, "CANCELED")?;

    let unknown = run(&["cancel", &"0".repeat(32)]);
    let told = format!(
        "{:#}",
        unknown.err().context("a job that is not there was cancelled")?
    );
    ensure!(told.contains("Could not find Flink job"), "{told}");
    Ok(())
}

/// A Java jar cannot run here; the client has to say so, not to hang.
#[test]
fn a_job_in_java_is_refused() -> Result<()> {
    let cluster = Cluster::start("command-line-java", 1, 1, &[])?;
    let own = Scratch::new("flink-command-line-java")?;
    let jar = own.path().join("job.jar");
    fs::copy(
        flink::home()?.join(format!("opt/flink-sql-gateway-{}.jar", flink::VERSION)),
        &jar,
    )?;
    let uploaded = cluster
        .client
        .upload("/jars/upload", "job.jar", &fs::read(&jar)?)?;
    let path = uploaded.value()?["filename"]
        .as_str()
        .context("no name")?
        .to_owned();
    let id = path.rsplit('/').next().unwrap_or_default();
    let answer = cluster
        .client
        .json("POST", &format!("/jars/{id}/run"), &serde_json::json!({}))?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(answer.status == 400, "{} {text}", answer.status);
    ensure!(
        text.contains("job.sql") && text.contains("Apache Flink"),
        "{text}"
    );
    Ok(())
}
