//! A JobManager and TaskManagers as processes, each with metrics on a port of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use millrace_testkit::process::Process;
use millrace_testkit::{engine, ports};

use super::exposition::{self, Families};

pub struct Member {
    pub process: Process,
    metrics: u16,
}

pub struct Cluster {
    folder: PathBuf,
    rpc: u16,
    pub job_manager: Member,
    pub task_managers: Vec<Member>,
    started: usize,
}

const REPORTER: &str = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory";

fn start(mut command: Command, settings: &[String], log: &Path) -> Member {
    let metrics = ports::free().unwrap();
    let own = [
        format!("metrics.reporter.prom.factory.class={REPORTER}"),
        format!("metrics.reporter.prom.port={metrics}"),
    ];
    for setting in own.iter().chain(settings) {
        command.arg("-D").arg(setting);
    }
    Member {
        process: Process::start(command, log).unwrap(),
        metrics,
    }
}

impl Member {
    /// All metrics, as they are now.
    pub fn scrape(&self) -> anyhow::Result<Families> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        let text = runtime.block_on(async { reqwest::get(url).await?.error_for_status()?.text().await })?;
        Ok(exposition::parse(&text))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap()
    }
}

impl Cluster {
    /// A JobManager that runs a script as soon as there are slots.
    pub fn start(folder: &Path, script: &str, settings: &[&str]) -> Cluster {
        let rpc = ports::free().unwrap();
        let file = folder.join("job.sql");
        std::fs::write(&file, script).unwrap();
        let mut command = engine::command().unwrap();
        command.arg("standalone-job").arg(&file);
        let mut all = vec![format!("jobmanager.rpc.port={rpc}")];
        all.extend(settings.iter().map(|setting| (*setting).to_owned()));
        Cluster {
            folder: folder.to_owned(),
            rpc,
            job_manager: start(command, &all, &folder.join("jobmanager.log")),
            task_managers: Vec::new(),
            started: 0,
        }
    }

    /// One slot more, whose process logs JSON.
    pub fn add(&mut self) {
        let mut command = engine::command().unwrap();
        command.arg("taskmanager").env("MILLRACE_LOG_FORMAT", "json");
        self.started += 1;
        let settings = [
            "jobmanager.rpc.address=127.0.0.1".to_owned(),
            format!("jobmanager.rpc.port={}", self.rpc),
            "taskmanager.host=127.0.0.1".to_owned(),
            "taskmanager.memory.managed.size=64mb".to_owned(),
            format!(
                "io.tmp.dirs={}",
                self.folder.join(format!("tmp-{}", self.started)).display()
            ),
        ];
        let log = self.folder.join(format!("taskmanager-{}.log", self.started));
        self.task_managers.push(start(command, &settings, &log));
    }

    /// Of all processes together: names of JobManager and TaskManagers differ.
    pub fn scrape(&self) -> anyhow::Result<Families> {
        let mut all = self.job_manager.scrape()?;
        for task_manager in &self.task_managers {
            for (name, family) in task_manager.scrape()? {
                match all.get_mut(&name) {
                    Some(known) => known.samples.extend(family.samples),
                    None => drop(all.insert(name, family)),
                }
            }
        }
        Ok(all)
    }

    pub fn logs(&self) -> String {
        let members = std::iter::once(&self.job_manager).chain(&self.task_managers);
        members
            .map(|member| member.process.log_tail())
            .collect::<Vec<_>>()
            .join("\n---\n")
    }
}
