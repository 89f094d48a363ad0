//! What every benchmark needs: a broker, a folder, and the three that are compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millrace_testkit::kafka::{Kafka, Options, Version};
use millrace_testkit::process::Process;
use millrace_testkit::scratch::Scratch;

use crate::cgroup::Cgroup;
use crate::flink::{self, Confined, Session, Settings};
use crate::job::{self, Blanks};
use crate::machine::Machine;
use crate::topic::PARTITIONS;

const VERSION: Version = Version::Kafka39;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Engine {
    Copy,
    Millrace,
    Flink,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Engine::Copy => "copy",
            Engine::Millrace => "millrace",
            Engine::Flink => "flink",
        }
    }
}

/// Broker, folder and binaries of one benchmark.
pub struct Lab {
    /// None where nothing goes through one.
    kafka: Option<Kafka>,
    pub machine: Machine,
    scratch: Scratch,
    millrace: PathBuf,
    runs: u32,
}

/// One run's names.
#[derive(Debug, Clone)]
pub struct Run {
    /// Unlike any other's: pipeline name and output topic.
    pub name: String,
    pub folder: PathBuf,
}

impl Run {
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Lab {
    /// Starts a broker as it runs in production: both compiler tiers, G1, 1 GiB of heap.
    pub fn open(millrace: Option<&Path>) -> Result<Lab> {
        // The machine is looked at before the broker and all else are a load themselves.
        let lab = Lab::without_broker(millrace)?;
        let options = Options {
            heap_mib: 1024,
            jvm: [
                "-XX:-UseSerialGC",
                "-XX:+UseG1GC",
                "-XX:TieredStopAtLevel=4",
                "-Xms1024m",
            ]
            .map(str::to_owned)
            .to_vec(),
            // Space comes back soon after a run's topic is deleted.
            properties: vec![("log.segment.delete.delay.ms".to_owned(), "1000".to_owned())],
            ..Options::default()
        };
        Ok(Lab {
            kafka: Some(Kafka::start(VERSION, options)?),
            ..lab
        })
    }

    pub fn without_broker(millrace: Option<&Path>) -> Result<Lab> {
        let millrace = match millrace {
            Some(path) => path.to_owned(),
            None => std::env::current_exe()?.with_file_name("millrace"),
        };
        // Another working folder must not change what is meant.
        let millrace = fs::canonicalize(&millrace)
            .with_context(|| format!("{} is missing: build it, or give --millrace", millrace.display()))?;
        Ok(Lab {
            kafka: None,
            machine: Machine::look(&millrace, VERSION.number(), flink::VERSION),
            scratch: Scratch::new("bench")?,
            millrace,
            runs: 0,
        })
    }

    pub fn kafka(&self) -> Result<&Kafka> {
        self.kafka.as_ref().context("this benchmark has no broker")
    }

    pub fn bootstrap(&self) -> Result<String> {
        Ok(self.kafka()?.bootstrap())
    }

    pub fn create_topic(&self, name: &str) -> Result<()> {
        self.kafka()?.create_topic(name, PARTITIONS)
    }

    /// A new run, with an output topic by its name.
    pub fn run(&mut self, what: &str) -> Result<Run> {
        let run = self.folder(what)?;
        self.create_topic(&run.name)?;
        Ok(run)
    }

    /// A new run that writes to no topic.
    pub fn folder(&mut self, what: &str) -> Result<Run> {
        self.runs += 1;
        let name = format!("bench-{what}-{}", self.runs);
        let folder = self.scratch.join(&name);
        fs::create_dir_all(&folder)?;
        Ok(Run { name, folder })
    }

    /// Removes what a run left behind.
    pub fn clear(&self, run: &Run) -> Result<()> {
        self.kafka()?.delete_topic(&run.name)?;
        fs::remove_dir_all(&run.folder)?;
        Ok(())
    }

    /// Writes the job of a run to a file; further table options are Flink's settings, Millrace runs as it is.
    pub fn sql(
        &self,
        run: &Run,
        template: &str,
        input: &str,
        settings: Option<&Settings>,
    ) -> Result<PathBuf> {
        let (source_options, sink_options) = match settings {
            Some(settings) => (settings.source_options(), settings.sink_options()),
            None => Default::default(),
        };
        let text = job::sql(
            template,
            &Blanks {
                name: &run.name,
                bootstrap: &self.bootstrap()?,
                input,
                output: &run.name,
                checkpoints: &format!("file://{}", run.folder.join("checkpoints").display()),
                source_options: &source_options,
                sink_options: &sink_options,
            },
        )?;
        let path = run.folder.join("job.sql");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The same with a TaskManager in a container of its own.
    pub fn confined_flink(&self, settings: &Settings, confined: &Confined) -> Result<Session> {
        let folder = self.scratch.join(format!("flink-{}-confined", settings.name));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        Session::start(&folder, settings, Some(confined))
    }

    /// `millrace run job.sql`.
    pub fn millrace(&self, run: &Run, sql: &Path) -> Result<Process> {
        Process::start(self.millrace_command(run, sql), &run.log())
    }

    /// The same, with a line in its log for each checkpoint; in a container of its own where there is one.
    pub fn talkative_millrace(&self, run: &Run, sql: &Path, group: Option<&Cgroup>) -> Result<Process> {
        let mut command = self.millrace_command(run, sql);
        command.env("RUST_LOG", "warn,millrace=debug");
        let command = match group {
            Some(group) => group.enter(&command),
            None => command,
        };
        Process::start(command, &run.log())
    }

    fn millrace_command(&self, run: &Run, sql: &Path) -> Command {
        let mut command = Command::new(&self.millrace);
        command.arg("run").arg(sql).current_dir(&run.folder);
        command
    }

    /// The copy loop, this program in a process of its own.
    pub fn copy(&self, run: &Run, input: &str) -> Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            "copy",
            "--bootstrap",
            &self.bootstrap()?,
            "--input",
            input,
            "--output",
            &run.name,
        ]);
        command.args(["--partitions", &PARTITIONS.to_string()]);
        Process::start(command, &run.log())
    }

    /// A cluster of Flink, kept for many runs.
    pub fn flink(&self, settings: &Settings) -> Result<Session> {
        let folder = self.scratch.join(format!("flink-{}", settings.name));
        Session::start(&folder, settings, None)
    }
}

/// Whether a process has ended; an error if it failed.
pub fn ended(process: &mut Process, what: &str) -> Result<bool> {
    match process.ended()? {
        None => Ok(false),
        Some(status) if status.success() => Ok(true),
        Some(status) => bail!("{what} failed ({status}):\n{}", process.log_tail()),
    }
}

/// How long a process gets to stop by itself.
pub const STOP: Duration = Duration::from_secs(20);
