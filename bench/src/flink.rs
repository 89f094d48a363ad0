//! A session cluster of Apache Flink on this machine: one JobManager, one TaskManager with two slots.
//!
//! Started without Flink's shell scripts, which PyPI's distribution does not hold; the memory split
//! that they would compute from Flink's default sizes is written out.

mod settings;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millrace_testkit::process::Process;
use millrace_testkit::{cache, ports, wait};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::http;

pub use settings::{ALL, Settings};

pub const VERSION: &str = "2.1.1";

const READY: Duration = Duration::from_secs(120);

/// What Flink opens of the JDK (its default `env.java.opts.all`).
const OPENED: &[&str] = &[
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=jdk.compiler/com.sun.tools.javac.api=ALL-UNNAMED",
    "--add-exports=jdk.compiler/com.sun.tools.javac.file=ALL-UNNAMED",
    "--add-exports=jdk.compiler/com.sun.tools.javac.parser=ALL-UNNAMED",
    "--add-exports=jdk.compiler/com.sun.tools.javac.tree=ALL-UNNAMED",
    "--add-exports=jdk.compiler/com.sun.tools.javac.util=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
    "--add-opens=java.base/java.text=ALL-UNNAMED",
    "--add-opens=java.base/java.time=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.locks=ALL-UNNAMED",
];

/// Flink's default sizes (JobManager 1600m, TaskManager 1728m), split as its scripts do, but for
/// one thing: a pass-through keeps no state, so the managed memory is given to the heap.
const JOBMANAGER_JVM: &[&str] = &["-Xms1024m", "-Xmx1024m", "-XX:MaxMetaspaceSize=256m"];
const TASKMANAGER_JVM: &[&str] = &[
    "-Xms1024m",
    "-Xmx1024m",
    "-XX:MaxDirectMemorySize=256m",
    "-XX:MaxMetaspaceSize=256m",
];
const TASKMANAGER_MEMORY: &[(&str, &str)] = &[
    ("taskmanager.cpu.cores", "2.0"),
    ("taskmanager.memory.framework.heap.size", "128m"),
    ("taskmanager.memory.task.heap.size", "896m"),
    ("taskmanager.memory.framework.off-heap.size", "128m"),
    ("taskmanager.memory.task.off-heap.size", "0"),
    ("taskmanager.memory.managed.size", "0"),
    ("taskmanager.memory.network.min", "128m"),
    ("taskmanager.memory.network.max", "128m"),
    ("taskmanager.memory.jvm-metaspace.size", "256m"),
    ("taskmanager.memory.jvm-overhead.min", "192m"),
    ("taskmanager.memory.jvm-overhead.max", "192m"),
];

const LOGGING: &str = "\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c - %m%n
";

/// A checkpoint that has completed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub number: u64,
    pub seconds: f64,
    /// Of the whole state, and of what was uploaded for it.
    pub bytes: u64,
    pub written: u64,
}

impl Checkpoint {
    fn of(json: &serde_json::Value) -> Option<Checkpoint> {
        (json["status"] == "COMPLETED").then_some(())?;
        Some(Checkpoint {
            number: json["id"].as_u64()?,
            seconds: json["end_to_end_duration"].as_f64()? / 1000.0,
            bytes: json["state_size"].as_u64()?,
            written: json["checkpointed_size"].as_u64()?,
        })
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub struct JobState {
    /// Flink's names: RUNNING, FINISHED, FAILED, ...
    pub status: String,
    pub seconds: f64,
}

/// What a TaskManager gets to live on, where that is not as much as it likes.
#[derive(Debug)]
pub struct Confined {
    pub group: Cgroup,
    /// Options of its JVM, and sizes in Flink's configuration.
    jvm: Vec<String>,
    memory: Vec<(&'static str, String)>,
}

/// MiB of a confined TaskManager beside managed memory.
const CONFINED_HEAP: u64 = 320;
const CONFINED_REST: u64 = 320;

impl Confined {
    /// A TaskManager in a container of so many MiB: what its heap, its network buffers and the JVM itself
    /// do not need is RocksDB's, three fifths as managed memory and the rest as page cache.
    pub fn new(mib: u64) -> Result<Confined> {
        let managed = mib.saturating_sub(CONFINED_HEAP + CONFINED_REST) * 3 / 5;
        let sizes = [
            ("taskmanager.memory.framework.heap.size", "64m".to_owned()),
            (
                "taskmanager.memory.task.heap.size",
                format!("{}m", CONFINED_HEAP - 64),
            ),
            ("taskmanager.memory.framework.off-heap.size", "64m".to_owned()),
            ("taskmanager.memory.managed.size", format!("{managed}m")),
            ("taskmanager.memory.network.min", "64m".to_owned()),
            ("taskmanager.memory.network.max", "64m".to_owned()),
            ("taskmanager.memory.jvm-metaspace.size", "128m".to_owned()),
            ("taskmanager.memory.jvm-overhead.min", "64m".to_owned()),
            ("taskmanager.memory.jvm-overhead.max", "64m".to_owned()),
        ];
        let jvm = [
            format!("-Xms{CONFINED_HEAP}m"),
            format!("-Xmx{CONFINED_HEAP}m"),
            "-XX:MaxDirectMemorySize=128m".to_owned(),
            "-XX:MaxMetaspaceSize=128m".to_owned(),
        ];
        Ok(Confined {
            group: Cgroup::new("millrace-bench-flink", mib << 20)?,
            jvm: jvm.to_vec(),
            memory: sizes.to_vec(),
        })
    }
}

/// A running cluster. Dropping it ends both processes.
pub struct Session {
    folder: PathBuf,
    home: PathBuf,
    rest_port: u16,
    jobmanager: Process,
    taskmanager: Process,
}

impl Session {
    /// Starts a cluster and returns when its slots are free.
    pub fn start(folder: &Path, settings: &Settings, confined: Option<&Confined>) -> Result<Session> {
        let home = cache::folder()?.join("flink").join(VERSION);
        if !home.join("lib").exists() {
            bail!("Apache Flink {VERSION} is missing: run bench/setup");
        }
        fs::create_dir_all(folder)?;
        let (rest_port, rpc_port) = (ports::free()?, ports::free()?);
        let mut config: Vec<(&str, String)> = vec![
            ("jobmanager.rpc.address", "127.0.0.1".into()),
            ("jobmanager.rpc.port", rpc_port.to_string()),
            ("jobmanager.bind-host", "127.0.0.1".into()),
            ("jobmanager.memory.process.size", "1600m".into()),
            ("taskmanager.host", "127.0.0.1".into()),
            ("taskmanager.bind-host", "127.0.0.1".into()),
            ("taskmanager.numberOfTaskSlots", "2".into()),
            ("rest.address", "127.0.0.1".into()),
            ("rest.bind-address", "127.0.0.1".into()),
            ("rest.port", rest_port.to_string()),
            ("io.tmp.dirs", folder.join("tmp").display().to_string()),
            // The state of its generator's sequences is all numbers to come, in one message.
            ("pekko.framesize", "268435456b".into()),
            ("web.checkpoints.history", "200".into()),
            // How far a job is, is asked for.
            ("metrics.fetcher.update-interval", "500".into()),
            // A job that fails is to be seen, not repeated.
            ("restart-strategy.type", "none".into()),
        ];
        config.extend(
            settings
                .cluster
                .iter()
                .map(|(key, value)| (*key, (*value).to_owned())),
        );
        let lines: String = config
            .iter()
            .map(|(key, value)| format!("{key}: \"{value}\"\n"))
            .collect();
        fs::write(folder.join("config.yaml"), lines)?;
        fs::write(folder.join("log4j.properties"), LOGGING)?;
        fs::create_dir_all(folder.join("tmp"))?;

        let java = |options: &[&str], entry: &str| {
            let mut command = java(&home, folder, &[], options);
            command.arg(entry).arg("--configDir").arg(folder);
            command
        };
        let mut command = java(
            JOBMANAGER_JVM,
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
        );
        command.args(["-D", "jobmanager.memory.heap.size=1024m"]);
        let jobmanager = Process::start(command, &folder.join("jobmanager.log"))?;
        let own_jvm: Vec<&str> = confined.iter().flat_map(|c| &c.jvm).map(String::as_str).collect();
        let options = [TASKMANAGER_JVM, settings.jvm, &own_jvm].concat();
        let mut command = java(
            &options,
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
        );
        for (key, default) in TASKMANAGER_MEMORY {
            let own = settings.memory.iter().find(|(own, _)| own == key);
            let value = own.map_or(*default, |(_, value)| *value);
            let own = confined.and_then(|c| c.memory.iter().find(|(own, _)| own == key));
            let value = own.map_or(value, |(_, value)| value);
            command.arg("-D").arg(format!("{key}={value}"));
        }
        if let Some(confined) = confined {
            command = confined.group.enter(&command);
        }
        let taskmanager = Process::start(command, &folder.join("taskmanager.log"))?;
        let mut session = Session {
            folder: folder.to_owned(),
            home: home.clone(),
            rest_port,
            jobmanager,
            taskmanager,
        };
        session.wait_ready()?;
        Ok(session)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let port = self.rest_port;
        let (jobmanager, taskmanager) = (&mut self.jobmanager, &mut self.taskmanager);
        let ready = wait::until("Flink's slots", READY, || {
            for process in [&mut *jobmanager, &mut *taskmanager] {
                if let Some(status) = process.ended()? {
                    return Ok(Some(Err(format!(
                        "Flink ended ({status}):\n{}",
                        process.log_tail()
                    ))));
                }
            }
            let overview = http::request("GET", port, "/overview")?;
            Ok((overview["slots-available"].as_u64() == Some(2)).then_some(Ok(())))
        })?;
        ready.map_err(anyhow::Error::msg)
    }

    /// The JobManager and the TaskManager.
    pub fn process_ids(&self) -> Vec<u32> {
        vec![self.jobmanager.id(), self.taskmanager.id()]
    }

    /// Gives a SQL file to Flink's own SQL client, which ends when the job is submitted.
    pub fn submit(&self, sql: &Path, log: &Path) -> Result<Client> {
        let jars = [self.home.join("opt").join("*")];
        let mut command = java(&self.home, &self.folder, &jars, &["-Xmx512m", "-XX:+UseSerialGC"]);
        command
            .arg("org.apache.flink.table.client.SqlClient")
            .arg("embedded")
            .arg("-f")
            .arg(sql);
        command.arg("-hist").arg(self.folder.join("history"));
        Ok(Client {
            process: Process::start(command, log)?,
            job: None,
        })
    }

    pub fn job(&self, id: &str) -> Result<JobState> {
        let job = http::request("GET", self.rest_port, &format!("/jobs/{id}"))?;
        let status = job["state"].as_str().context("the job has no state")?.to_owned();
        let seconds = job["duration"].as_f64().context("the job has no duration")? / 1000.0;
        Ok(JobState { status, seconds })
    }

    /// Rows that the sources of a job have given so far.
    pub fn source_rows(&self, id: &str) -> Result<u64> {
        let job = http::request("GET", self.rest_port, &format!("/jobs/{id}"))?;
        let vertices = job["vertices"].as_array().context("the job has no vertices")?;
        let rows = |vertex: &serde_json::Value| vertex["metrics"]["write-records"].as_u64().unwrap_or(0);
        let sources = vertices.iter().filter(|vertex| {
            vertex["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("Source:"))
        });
        Ok(sources.map(rows).sum())
    }

    /// The checkpoints of a job that Flink still knows, in the order of their numbers.
    pub fn checkpoints(&self, id: &str) -> Result<Vec<Checkpoint>> {
        let answer = http::request("GET", self.rest_port, &format!("/jobs/{id}/checkpoints"))?;
        let history = answer["history"]
            .as_array()
            .context("the job has no checkpoints")?;
        let mut checkpoints: Vec<Checkpoint> = history.iter().filter_map(Checkpoint::of).collect();
        checkpoints.sort_by_key(|checkpoint| checkpoint.number);
        Ok(checkpoints)
    }

    /// How long a client's job took, when it has finished; an error if it failed.
    pub fn finished(&self, client: &mut Client) -> Result<Option<f64>> {
        let Some(id) = client.job()? else { return Ok(None) };
        let job = self.job(id)?;
        match job.status.as_str() {
            "FINISHED" => Ok(Some(job.seconds)),
            "FAILED" | "CANCELED" | "SUSPENDED" => {
                bail!("Flink's job is {}:\n{}", job.status, self.failure(id))
            }
            _ => Ok(None),
        }
    }

    /// Why a job failed, as far as Flink tells.
    pub fn failure(&self, id: &str) -> String {
        match http::request(
            "GET",
            self.rest_port,
            &format!("/jobs/{id}/exceptions?maxExceptions=1"),
        ) {
            Ok(answer) => match answer["exceptionHistory"]["entries"][0]["stacktrace"].as_str() {
                Some(trace) => trace.lines().take(30).collect::<Vec<_>>().join("\n"),
                None => answer.to_string(),
            },
            Err(error) => format!("{error:#}"),
        }
    }

    /// Cancels a job and waits until its slots are free again.
    pub fn cancel(&mut self, id: &str) -> Result<()> {
        http::request("PATCH", self.rest_port, &format!("/jobs/{id}?mode=cancel"))?;
        self.wait_ready()
    }

    /// Waits until both slots are free: the next job must not share the cluster with the last.
    pub fn wait_idle(&mut self) -> Result<()> {
        self.wait_ready()
    }
}

/// The SQL client at work.
pub struct Client {
    process: Process,
    job: Option<String>,
}

impl Client {
    /// The job's id, when it is submitted.
    pub fn job(&mut self) -> Result<Option<&str>> {
        if self.job.is_none()
            && let Some(status) = self.process.ended()?
        {
            let text = self.process.log_tail();
            match job_id(&text) {
                Some(id) if status.success() => self.job = Some(id),
                _ => bail!("Flink's SQL client refused the job ({status}):\n{text}"),
            }
        }
        Ok(self.job.as_deref())
    }
}

/// The id in what the SQL client prints of a submitted job.
fn job_id(text: &str) -> Option<String> {
    let after = text.rsplit_once("Job ID:")?.1.trim_start();
    let id: String = after.chars().take_while(char::is_ascii_hexdigit).collect();
    (id.len() == 32).then_some(id)
}

fn java(home: &Path, folder: &Path, jars: &[PathBuf], options: &[&str]) -> Command {
    let mut class_path = home.join("lib").join("*").into_os_string();
    for jar in jars {
        class_path.push(":");
        class_path.push(jar);
    }
    let mut command = Command::new("java");
    command.env("FLINK_CONF_DIR", folder);
    command.args(options).args(OPENED);
    command.arg(format!(
        "-Dlog4j.configurationFile={}",
        folder.join("log4j.properties").display()
    ));
    command.arg("-cp").arg(class_path);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_submitted_job() {
        let text = "[INFO] Submitting SQL update statement to the cluster...\n\
                    [INFO] SQL update statement has been successfully submitted to the cluster:\n\
                    Job ID: 0123456789abcdef0123456789abcdef\n\nShutting down the session...\n";
        assert_eq!(job_id(text).as_deref(), Some("0123456789abcdef0123456789abcdef"));
        assert_eq!(job_id("[ERROR] Could not execute SQL statement."), None);
        assert_eq!(job_id("Job ID: 12"), None);
    }

    #[test]
    fn settings_have_names_of_their_own() {
        for settings in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == settings.name).count(), 1);
        }
    }
}
