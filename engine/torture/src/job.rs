//! The job as SQL, and `millrace run` as a process.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use millrace_testkit::process::Process;
use millrace_testkit::{engine, wait};

/// What every run of the job has in common.
#[derive(Debug, Clone)]
pub struct Job {
    pub name: String,
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

    /// A filter and a computed column: every record is decoded, computed and encoded again.
    pub fn sql(&self) -> String {
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
        text.push_str(
            "INSERT INTO `output` SELECT id, k, seq, id * 2 FROM `input` WHERE MOD(id, 10) <> 9;\n",
        );
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
            .arg("run")
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
            log,
        })
    }
}

fn table(text: &mut String, name: &str, columns: &str, options: &[(&str, &str)]) {
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
    log: PathBuf,
}

/// What the engine said that its recovery did; sums over the starts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    pub committed: u64,
    pub fenced: u64,
}

impl Run {
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// SIGTERM; the process must end with 0.
    pub fn stop(mut self) -> Result<Recovered> {
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
        Ok(recovered(&self.log()))
    }

    /// `kill -9`, unless it has ended by itself already, which is an error.
    pub fn kill(mut self) -> Result<Recovered> {
        self.expect_running()?;
        self.process.kill()?;
        Ok(recovered(&self.log()))
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
        let log = self.log.clone();
        let has = || std::fs::read_to_string(&log).unwrap_or_default().contains(text);
        let said = wait::until(&format!("'{text}' in the engine's log"), limit, || {
            // Asked before the log is read: it may say so with its last breath.
            let ended = self.process.ended()?.is_some();
            if has() {
                return Ok(Some(true));
            }
            Ok(ended.then_some(false))
        })
        .with_context(|| self.process.log_tail())?;
        ensure!(
            said,
            "the engine ended and never said '{text}':\n{}",
            self.process.log_tail()
        );
        Ok(())
    }
}

/// Sums the lines `recovered sink ... committed=<n> fenced=<n>`.
pub fn recovered(log: &str) -> Recovered {
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
    log.lines()
        .filter(|line| line.contains("recovered sink"))
        .fold(Recovered::default(), |sum, line| Recovered {
            committed: sum.committed + number(line, " committed="),
            fenced: sum.fenced + number(line, " fenced="),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_recovery_did_is_read_from_the_log() {
        let log = "INFO restored checkpoint=4\nINFO recovered sink sink=output committed=3 fenced=12\n\
                   INFO other committed=100\nINFO recovered sink sink=output committed=0 fenced=1\n";
        assert_eq!(
            recovered(log),
            Recovered {
                committed: 3,
                fenced: 13
            }
        );
        assert_eq!(recovered(""), Recovered::default());
    }

    #[test]
    fn a_quote_in_an_option_stays_one() {
        let mut text = String::new();
        table(&mut text, "t", "a INT", &[("k", "it's")]);
        assert!(text.contains("'k' = 'it''s'"), "{text}");
    }
}
