//! A session cluster of this engine: a JobManager and TaskManagers, processes as a person starts them.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_testkit::process::Process;
use millrace_testkit::scratch::Scratch;
use millrace_testkit::{engine, ports, wait};

use crate::client::Client;

pub const LIMIT: Duration = Duration::from_secs(60);

/// A running cluster with a folder of its own; the processes end with it.
pub struct Cluster {
    pub folder: Scratch,
    pub client: Client,
    pub port: u16,
    pub job_manager: Process,
    pub task_managers: Vec<Process>,
}

impl Cluster {
    /// So many TaskManagers of so many slots; returns when all slots are free.
    pub fn start(
        name: &str,
        task_managers: usize,
        slots: usize,
        options: &[(&str, &str)],
    ) -> Result<Cluster> {
        let folder = Scratch::new(name)?;
        let [rest, rpc] = [ports::free()?, ports::free()?];
        let place = folder.path().display().to_string();
        let mut all = vec![
            ("rest.port".to_owned(), rest.to_string()),
            ("rest.bind-address".to_owned(), "127.0.0.1".to_owned()),
            ("jobmanager.rpc.address".to_owned(), "127.0.0.1".to_owned()),
            ("jobmanager.rpc.port".to_owned(), rpc.to_string()),
            ("jobmanager.bind-host".to_owned(), "127.0.0.1".to_owned()),
            ("taskmanager.host".to_owned(), "127.0.0.1".to_owned()),
            ("taskmanager.bind-host".to_owned(), "127.0.0.1".to_owned()),
            ("taskmanager.numberOfTaskSlots".to_owned(), slots.to_string()),
            ("taskmanager.memory.managed.size".to_owned(), "64mb".to_owned()),
            ("io.tmp.dirs".to_owned(), place.clone()),
            (
                "execution.checkpointing.dir".to_owned(),
                format!("{place}/checkpoints"),
            ),
        ];
        all.extend(
            options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        fs::create_dir_all(folder.path().join("log"))?;
        let job_manager = start(folder.path(), "jobmanager", "jobmanager", &all)?;
        let task_managers = (0..task_managers)
            .map(|number| {
                start(
                    folder.path(),
                    "taskmanager",
                    &format!("taskmanager-{number}"),
                    &all,
                )
            })
            .collect::<Result<Vec<_>>>()?;
        let mut cluster = Cluster {
            client: Client::new(rest)?,
            port: rest,
            folder,
            job_manager,
            task_managers,
        };
        cluster.wait_free(slots)?;
        Ok(cluster)
    }

    fn wait_free(&mut self, slots: usize) -> Result<()> {
        let wanted = slots * self.task_managers.len();
        wait::until("the cluster's slots", LIMIT, || {
            for process in std::iter::once(&mut self.job_manager).chain(&mut self.task_managers) {
                if let Some(status) = process.ended()? {
                    return Ok(Some(Err(anyhow::anyhow!(
                        "a process ended ({status}):\n{}",
                        process.log_tail()
                    ))));
                }
            }
            let overview = self.client.get("/overview")?;
            Ok((overview["slots-available"] == wanted).then_some(Ok(())))
        })?
    }

    /// Runs SQL as an upload; gives the job's id.
    pub fn run(&self, sql: &str) -> Result<String> {
        let uploaded = self.client.upload("/jars/upload", "job.sql", sql.as_bytes())?;
        let path = uploaded.value()?["filename"]
            .as_str()
            .context("no file name")?
            .to_owned();
        let id = path.rsplit('/').next().unwrap_or_default();
        let run = self
            .client
            .json("POST", &format!("/jars/{id}/run"), &serde_json::json!({}))?;
        ensure!(run.status == 200, "{}", String::from_utf8_lossy(&run.body));
        Ok(run.value()?["jobid"].as_str().context("no job id")?.to_owned())
    }

    /// Waits until a job is in a state.
    pub fn reaches(&self, job: &str, state: &str) -> Result<()> {
        wait::until(&format!("job {job} is {state}"), LIMIT, || {
            let now = self.client.get(&format!("/jobs/{job}/status"))?;
            Ok((now["status"] == state).then_some(()))
        })
    }
}

fn start(folder: &Path, role: &str, name: &str, options: &[(String, String)]) -> Result<Process> {
    let mut command = Command::new(engine::binary()?);
    command
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env_remove("FLINK_CONF_DIR")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .arg(role);
    for (key, value) in options {
        command.arg(format!("-D{key}={value}"));
    }
    // As a script does that keeps both apart.
    let log = folder.join("log");
    File::create(log.join(format!("{name}.log")))?;
    Process::start(command, &log.join(format!("{name}.log")))
}
