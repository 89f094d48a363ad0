//! The job as SQL, and `millrace run` as a process.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use millrace_testkit::process::Process;
use millrace_testkit::{engine, wait};

use crate::keyed;

/// What the job is made of; the same in all of its runs, for state belongs to operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A filter and a computed column.
    Chain,
    /// The same for even and for odd keys, and their union: the sink stands behind a gate that
    /// aligns barriers, and each key still has one way through.
    Union,
    /// Sums, sessions and joins: see `keyed`.
    Keyed,
}

/// What every run of the job has in common.
#[derive(Debug, Clone)]
pub struct Job {
    pub name: String,
    pub shape: Shape,
    pub input: String,
    pub output: String,
    pub group: String,
    pub transactional_id_prefix: String,
    /// Options of both Kafka tables: how the cluster is reached.
    pub kafka: Vec<(String, String)>,
    /// Options of the output table.
    pub sink: Vec<(String, String)>,
    /// `-D`, at every run.
    pub options: Vec<(String, String)>,
}

impl Job {
    pub fn option(&mut self, key: &str, value: impl Into<String>) {
        self.options.retain(|(k, _)| k != key);
        self.options.push((key.to_owned(), value.into()));
    }

    /// The topics that it reads.
    pub fn inputs(&self) -> Vec<String> {
        match self.shape {
            Shape::Chain | Shape::Union => vec![self.input.clone()],
            Shape::Keyed => keyed::job::INPUTS
                .map(|name| format!("{}{name}", self.input))
                .into(),
        }
    }

    /// The topics that it writes.
    pub fn outputs(&self) -> Vec<String> {
        match self.shape {
            Shape::Chain | Shape::Union => vec![self.output.clone()],
            Shape::Keyed => keyed::job::OUTPUTS
                .map(|name| format!("{}{name}", self.output))
                .into(),
        }
    }

    /// Every record is decoded, computed and encoded again.
    pub fn sql(&self) -> String {
        let select = "SELECT id, k, seq, id * 2 FROM `input` WHERE MOD(id, 10) <> 9";
        let query = match self.shape {
            Shape::Chain => select.to_owned(),
            Shape::Union => format!("{select} AND MOD(k, 2) = 0 UNION ALL {select} AND MOD(k, 2) = 1"),
            Shape::Keyed => return keyed::job::sql(self),
        };
        let mut text = format!("SET 'pipeline.name' = '{}';\n\n", self.name);
        let reach: Vec<(&str, &str)> = self.kafka.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let mut source = vec![("connector", "kafka"), ("topic", self.input.as_str())];
        source.extend(&reach);
        source.extend([
            ("properties.group.id", self.group.as_str()),
            ("scan.startup.mode", "earliest-offset"),
            ("format", "json"),
        ]);
        table(&mut text, "input", "id BIGINT, k INT, seq BIGINT", &source);
        let mut sink = vec![("connector", "kafka"), ("topic", self.output.as_str())];
        sink.extend(&reach);
        sink.extend([
            ("key.format", "json"),
            ("key.fields", "k"),
            ("value.format", "json"),
            ("sink.delivery-guarantee", "exactly-once"),
            (
                "sink.transactional-id-prefix",
                self.transactional_id_prefix.as_str(),
            ),
        ]);
        sink.extend(self.sink.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        table(
            &mut text,
            "output",
            "id BIGINT, k INT, seq BIGINT, twice BIGINT",
            &sink,
        );
        let _ = writeln!(text, "INSERT INTO `output` {query};");
        text
    }

    /// Whether the job's WHERE lets a record through.
    pub fn passes(id: u64) -> bool {
        id % 10 != 9
    }

    /// Starts a run in `folder`, which gets `job.sql` and one log a run.
    pub fn start(&self, folder: &Path, number: u32, run: &RunOptions) -> Result<Run> {
        let file = folder.join(format!("{}.sql", self.name));
        std::fs::write(&file, self.sql())?;
        let mut command = engine::command()?;
        command
            .current_dir(folder)
            .arg(match run.on_task_managers {
                true => "standalone-job",
                false => "run",
            })
            .arg(&file)
            .args(&run.arguments);
        let mut options = self.options.clone();
        options.push(("parallelism.default".to_owned(), run.parallelism.to_string()));
        options.extend(run.options.iter().cloned());
        for (key, value) in &options {
            command.arg("-D").arg(format!("{key}={value}"));
        }
        if let Some((name, passage)) = run.fail_point {
            command.env("MILLRACE_FAIL_POINT", format!("{name}:{passage}"));
        }
        let log = folder.join(format!("run-{number:03}.log"));
        Ok(Run {
            process: Process::start(command, &log)?,
            parallelism: run.parallelism,
            log,
        })
    }
}

pub(crate) fn table(text: &mut String, name: &str, columns: &str, options: &[(&str, &str)]) {
    let _ = writeln!(text, "CREATE TABLE `{name}` (\n  {columns}\n) WITH (");
    let lines: Vec<String> = options
        .iter()
        .map(|(key, value)| format!("  '{key}' = '{}'", value.replace('\'', "''")))
        .collect();
    let _ = writeln!(text, "{}\n);\n", lines.join(",\n"));
}

/// What differs from run to run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    pub parallelism: usize,
    /// Name, and at which passage.
    pub fail_point: Option<(&'static str, u32)>,
    pub options: Vec<(String, String)>,
    pub arguments: Vec<String>,
    /// The process is a JobManager, and its subtasks run in others.
    pub on_task_managers: bool,
}

impl RunOptions {
    pub fn parallel(parallelism: usize) -> RunOptions {
        RunOptions {
            parallelism,
            ..RunOptions::default()
        }
    }
}

/// One process. Dropping it kills it.
#[derive(Debug)]
pub struct Run {
    pub process: Process,
    pub parallelism: usize,
    log: PathBuf,
}

/// What the engine said that a run did, over all of its attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub parallelism: usize,
    /// The checkpoint that each attempt began with.
    pub restored: Vec<u64>,
    pub recoveries: u64,
    /// Handles that a recovery committed.
    pub committed: u64,
    /// Recoveries that found some handles committed and others open.
    pub torn: u64,
    pub fenced: u64,
    pub failed_checkpoints: u64,
}

impl Run {
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    pub fn report(&self) -> Report {
        Report {
            parallelism: self.parallelism,
            ..report(&self.log())
        }
    }

    /// SIGTERM; the process must end with 0.
    pub fn stop(mut self) -> Result<Report> {
        self.process.signal(15)?;
        let status = self
            .process
            .wait(Duration::from_secs(90))
            .with_context(|| self.process.log_tail())?;
        if !status.success() {
            bail!(
                "the engine was told to stop and ended with {status}:\n{}",
                self.process.log_tail()
            );
        }
        Ok(self.report())
    }

    /// `kill -9`, unless it has ended by itself already, which is an error.
    pub fn kill(mut self) -> Result<Report> {
        self.expect_running()?;
        self.process.kill()?;
        Ok(self.report())
    }

    pub fn expect_running(&mut self) -> Result<()> {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => bail!(
                "the engine ended by itself ({status}):\n{}",
                self.process.log_tail()
            ),
        }
    }

    /// Waits for the end that something else brings about.
    pub fn ended_within(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.ended()? {
                return Ok(Some(status));
            }
            if start.elapsed() > limit {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the log holds a text.
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<()> {
        self.wait_for_logs(text, 1, limit)
    }

    /// Waits until the log holds a text so many times.
    pub fn wait_for_logs(&mut self, text: &str, times: usize, limit: Duration) -> Result<()> {
        let said = wait::until(&format!("'{text}' in the engine's log"), limit, || {
            // Asked before the log is read: it may say so with its last breath.
            let ended = self.process.ended()?.is_some();
            if self.log().matches(text).count() >= times {
                return Ok(Some(true));
            }
            Ok(ended.then_some(false))
        })
        .with_context(|| self.process.log_tail())?;
        ensure!(
            said,
            "the engine ended and never said '{text}' {times} times:\n{}",
            self.process.log_tail()
        );
        Ok(())
    }
}

/// The engine's line for a checkpoint that failed.
pub const CHECKPOINT_FAILED: &str = "checkpoint failed";
/// The engine's line for an attempt whose subtasks have been started.
pub const RUNNING: &str = " running attempt=";
/// The engine's line for a sink that it has brought to where the run begins.
pub const RECOVERED: &str = "recovered sink";

/// From the lines `restored checkpoint=<n>`, `recovered sink ... committed=<n> repeated=<n> fenced=<n>`
/// and `checkpoint failed`.
fn report(log: &str) -> Report {
    let number = |line: &str, name: &str| -> u64 {
        let start = line.find(name).map(|at| at + name.len());
        let digits = start.map(|at| {
            line[at..]
                .chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        });
        digits.and_then(|d| d.parse().ok()).unwrap_or(0)
    };
    let mut report = Report::default();
    for line in log.lines() {
        if line.contains("restored checkpoint=") {
            report.restored.push(number(line, "restored checkpoint="));
        }
        if line.contains(RECOVERED) {
            let (committed, repeated) = (number(line, " committed="), number(line, " repeated="));
            report.recoveries += 1;
            report.committed += committed;
            report.torn += u64::from(committed > 0 && repeated > 0);
            report.fenced += number(line, " fenced=");
        }
        report.failed_checkpoints += u64::from(line.contains(CHECKPOINT_FAILED));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_did_is_read_from_its_log() {
        let log = "INFO recovered sink sink=output committed=3 repeated=2 fenced=12 lost=0\nINFO restored checkpoint=4\n\
                   INFO other committed=100\nWARN checkpoint failed checkpoint=5 error=no\n\
                   INFO recovered sink sink=output committed=0 repeated=3 fenced=1 lost=0\nINFO restored checkpoint=4\n";
        let expected = Report {
            parallelism: 0,
            restored: vec![4, 4],
            recoveries: 2,
            committed: 3,
            torn: 1,
            fenced: 13,
            failed_checkpoints: 1,
        };
        assert_eq!(report(log), expected);
        assert_eq!(report(""), Report::default());
    }

    #[test]
    fn a_quote_in_an_option_stays_one() {
        let mut text = String::new();
        table(&mut text, "t", "a INT", &[("k", "it's")]);
        assert!(text.contains("'k' = 'it''s'"), "{text}");
    }
}
