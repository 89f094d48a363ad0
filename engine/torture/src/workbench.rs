//! One scenario's workbench: topics, producer, folder, runs of the job, and the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use millrace_testkit::kafka::Kafka;
use millrace_testkit::records::{self, Isolation, Record};
use millrace_testkit::s3::S3;
use millrace_testkit::scratch::Scratch;
use millrace_testkit::wait;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::{Deserialize, Serialize};

use crate::checker::{self, Received, Sent};
use crate::input::{self, Input};
use crate::job::{Job, RUNNING, Report, Run, RunOptions, Shape};
use crate::keyed;
use crate::keyed::checker::{Output, Times};
use crate::keyed::job::{PAIRS, SESSIONS, SUMS};

const CATCH_UP: Duration = Duration::from_secs(120);
/// Of each topic of the input.
const PARTITIONS: i32 = 6;

/// How the job reaches the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Plain,
    /// SASL_SSL with SCRAM-SHA-512.
    Secure,
}

#[derive(Debug)]
pub struct Workbench {
    pub job: Job,
    pub folder: Scratch,
    pub client: ClientConfig,
    input: Option<Input>,
    runs: u32,
    /// How often the output has to be there, of a job with state by key.
    pub times: Times,
    pub summary: Summary,
}

/// The machine does not allow what a scenario is about.
#[derive(Debug)]
pub struct Impossible(pub &'static str);

impl std::error::Error for Impossible {}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a scenario did, for the last lines.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Summary {
    pub records: u64,
    pub runs: u32,
    pub kills: u32,
    /// See `Report`.
    pub committed: u64,
    pub torn: u64,
    pub fenced: u64,
    pub failed_checkpoints: u64,
    pub parallelisms: BTreeSet<usize>,
    /// Runs that restored a checkpoint of a run with another parallelism.
    pub rescaled: u32,
    previous: Previous,
}

/// The run before, and the checkpoint that it began with.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Previous {
    parallelism: usize,
    restored: u64,
    /// Parallelism of the run that took that checkpoint.
    taken_by: usize,
}

impl Summary {
    /// Takes the report of a run that has ended; in the order of runs.
    pub fn add(&mut self, report: &Report) {
        self.committed += report.committed;
        self.torn += report.torn;
        self.fenced += report.fenced;
        self.failed_checkpoints += report.failed_checkpoints;
        self.parallelisms.insert(report.parallelism);
        let previous = &mut self.previous;
        if let Some(&restored) = report.restored.first() {
            if restored != previous.restored {
                previous.taken_by = previous.parallelism;
            }
            self.rescaled += u32::from(previous.taken_by != report.parallelism);
        }
        // Further attempts of one run restore what it took itself.
        if let Some(&restored) = report.restored.last() {
            if report.restored.first() != Some(&restored) {
                previous.taken_by = report.parallelism;
            }
            previous.restored = restored;
        }
        // A run that died before its recovery was over has taken no checkpoint.
        if report.recoveries > 0 {
            previous.parallelism = report.parallelism;
        }
    }
}

#[derive(Deserialize)]
struct Row {
    id: u64,
    k: u32,
    seq: u64,
    twice: Option<u64>,
}

impl Workbench {
    /// As `of`, for a filter and a computed column.
    pub fn new(kafka: &Kafka, line: Line, name: &str, records_per_second: u64) -> Result<Workbench> {
        Workbench::of(kafka, line, Shape::Chain, name, records_per_second)
    }

    /// Topics and a producer that has begun; checkpoints go to the scenario's own folder.
    pub fn of(kafka: &Kafka, line: Line, shape: Shape, name: &str, rate: u64) -> Result<Workbench> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "{name}-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        // Many small files of keyed state are written and synchronised all the time.
        let mut folder = match shape {
            Shape::Keyed => Scratch::in_memory(name)?,
            Shape::Chain | Shape::Union => Scratch::new(name)?,
        };
        // Until the verdict.
        folder.keep(true);
        let client = kafka.client();
        let mut job = Job {
            name: unique.clone(),
            shape,
            input: format!("{unique}-in"),
            output: format!("{unique}-out"),
            group: unique.clone(),
            transactional_id_prefix: unique,
            kafka: reach(kafka, line)?,
            sink: vec![(
                "properties.transaction.timeout.ms".to_owned(),
                "600000".to_owned(),
            )],
            options: Vec::new(),
        };
        job.option("execution.checkpointing.interval", "200 ms");
        job.option(
            "execution.checkpointing.dir",
            format!("file://{}", folder.join("checkpoints").display()),
        );
        job.option(
            "state.backend.rocksdb.localdir",
            folder.join("state").display().to_string(),
        );
        // A failure that a restart within the process would hide shall end it.
        job.option("restart-strategy.type", "none");
        for input in job.inputs() {
            kafka.create_topic(&input, PARTITIONS)?;
        }
        for output in job.outputs() {
            kafka.create_topic(&output, 5)?;
        }
        let steps = match shape {
            Shape::Chain | Shape::Union => input::single,
            Shape::Keyed => input::orders_and_payments,
        };
        let input = Input::start(&client, job.inputs(), steps, rate)?;
        Ok(Workbench {
            job,
            folder,
            client,
            input: Some(input),
            runs: 0,
            times: Times::Once,
            summary: Summary::default(),
        })
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// Checkpoints go to this server.
    pub fn use_s3(&mut self, s3: &S3) {
        for (key, value) in s3.options() {
            self.job.option(key, value);
        }
        self.job
            .option("execution.checkpointing.dir", s3.url("checkpoints"));
    }

    pub fn start(&mut self, options: &RunOptions) -> Result<Run> {
        self.runs += 1;
        self.summary.runs += 1;
        self.job.start(self.folder.path(), self.runs, options)
    }

    /// Runs until the fail point is reached; false if it is not within the limit, and the run was
    /// killed then. Any other end is an error.
    pub fn run_to(
        &mut self,
        name: &'static str,
        passage: u32,
        options: RunOptions,
        limit: Duration,
    ) -> Result<bool> {
        let mut run = self.start(&RunOptions {
            fail_point: Some((name, passage)),
            ..options
        })?;
        self.died_at(&mut run, name, limit)
    }

    /// The rest of `run_to`, for a run that was started with the fail point.
    pub fn died_at(&mut self, run: &mut Run, name: &str, limit: Duration) -> Result<bool> {
        let status = run.ended_within(limit)?;
        match status {
            None => run.process.kill().map(drop)?,
            Some(status) => {
                let is_killed = status.signal() == Some(9);
                if !is_killed || !run.log().contains(&format!("fail point {name} reached")) {
                    bail!(
                        "the engine ended by itself ({status}), on its way to {name}:\n{}",
                        run.process.log_tail()
                    );
                }
            }
        }
        self.killed(&run.report());
        Ok(status.is_some())
    }

    pub fn killed(&mut self, report: &Report) {
        self.summary.kills += 1;
        self.summary.add(report);
    }

    /// How many output records a read_committed reader sees, roughly: offsets of markers count too.
    pub fn visible(&self) -> Result<i64> {
        self.ends(Isolation::ReadCommitted)
    }

    /// The same for a read_uncommitted reader, who sees what is written.
    pub fn written(&self) -> Result<i64> {
        self.ends(Isolation::ReadUncommitted)
    }

    fn ends(&self, isolation: Isolation) -> Result<i64> {
        let mut sum = 0;
        for output in self.job.outputs() {
            sum += records::end_offsets(&self.client, &output, isolation)?
                .values()
                .sum::<i64>();
        }
        Ok(sum)
    }

    /// Waits until more output than now is visible: the job makes progress.
    pub fn wait_for_progress(&self, run: &mut Run, limit: Duration) -> Result<()> {
        // What a recovery commits is no progress of the run.
        run.wait_for_log(RUNNING, limit)?;
        let before = wait::until("the output's end", limit, || self.visible().map(Some))?;
        wait::until("progress of the output", limit, || {
            // What ends the engine ends the waiting; what only the brokers do does not.
            if let Err(e) = run.expect_running() {
                return Ok(Some(Err(e)));
            }
            Ok((self.visible()? > before).then_some(Ok(())))
        })
        .with_context(|| run.process.log_tail())?
    }

    /// Records of the input so far.
    pub fn sent(&self) -> u64 {
        self.input.as_ref().map_or(self.summary.records, Input::sent)
    }

    /// Ends the input, lets the job catch up, stops it, and checks everything.
    pub fn finish(&mut self, kafka: &Kafka, run: Run) -> Result<()> {
        let report = self.catch_up(run)?.stop()?;
        self.summary.add(&report);
        self.check(kafka)?;
        self.passed();
        Ok(())
    }

    /// Nothing of the scenario needs a look.
    pub fn passed(&mut self) {
        self.folder.keep(false);
    }

    /// Ends the input and waits until its last record's output is decided.
    pub fn catch_up(&mut self, mut run: Run) -> Result<Run> {
        self.caught_up(|| run.expect_running())
            .with_context(|| run.process.log_tail())?;
        Ok(run)
    }

    /// Ends the input, and waits until the job has read all of it and said so. `expect_running` says what has ended
    /// that should not have.
    pub fn caught_up(&mut self, mut expect_running: impl FnMut() -> Result<()>) -> Result<()> {
        if let Some(input) = self.input.take() {
            self.summary.records = input.finish()?;
            if self.job.shape == Shape::Keyed {
                self.send_end()?;
            }
        }
        let inputs = self.job.inputs();
        let ends = inputs
            .iter()
            .map(|input| records::end_offsets(&self.client, input, Isolation::ReadUncommitted))
            .collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        let mut last: Vec<BTreeMap<i32, i64>> = Vec::new();
        wait::until("the job to catch up", CATCH_UP, || {
            if let Err(e) = expect_running() {
                return Ok(Some(Err(e)));
            }
            last = inputs
                .iter()
                .map(|input| records::committed_offsets(&self.client, &self.job.group, input))
                .collect::<Result<_>>()?;
            Ok((last == ends).then_some(Ok(())))
        })
        .with_context(|| format!("after {:?}: committed {last:?} of {ends:?}", start.elapsed()))??;
        Ok(())
    }

    /// A row far in the future in each partition: the watermark passes all that is open.
    fn send_end(&self) -> Result<()> {
        let producer: BaseProducer = self.client.create()?;
        let value = keyed::input::end();
        for topic in self.job.inputs() {
            for partition in 0..PARTITIONS {
                let record = BaseRecord::to(&topic)
                    .partition(partition)
                    .key("end")
                    .payload(&value);
                producer.send(record).map_err(|(e, _)| e)?;
            }
        }
        producer.flush(Duration::from_secs(30))?;
        Ok(())
    }

    /// The output against the input, and no transaction left open. The engine must be stopped.
    pub fn check(&self, kafka: &Kafka) -> Result<()> {
        match self.job.shape {
            Shape::Chain | Shape::Union => self.check_rows(kafka)?,
            Shape::Keyed => self.check_keyed()?,
        }
        self.check_transactions(kafka)
    }

    fn check_keyed(&self) -> Result<()> {
        let read = |topic: &String| records::read(&self.client, topic, Isolation::ReadCommitted);
        for (number, topic) in self.job.inputs().iter().enumerate() {
            let of_topic = |message: input::Message| (message.topic == number).then_some(message.value);
            let steps = (0..self.summary.records).flat_map(input::orders_and_payments);
            let mut sent: Vec<String> = steps.filter_map(of_topic).collect();
            sent.extend((0..PARTITIONS).map(|_| keyed::input::end()));
            let mut held: Vec<String> = read(topic)?.iter().map(Record::text).collect();
            sent.sort_unstable();
            held.sort_unstable();
            ensure!(
                held == sent,
                "the topic {topic} does not hold what was sent: the test itself is broken"
            );
        }
        let [sums, sessions, pairs] = [SUMS, SESSIONS, PAIRS].map(|number| read(&self.job.outputs()[number]));
        let output = Output {
            sums: sums?,
            sessions: sessions?,
            pairs: pairs?,
        };
        let findings = keyed::checker::check(self.summary.records, self.times, &output)?;
        ensure!(
            findings.is_clean(),
            "{} steps of input, {} sums, {} sessions, {} pairs read:\n{findings}",
            self.summary.records,
            output.sums.len(),
            output.sessions.len(),
            output.pairs.len()
        );
        Ok(())
    }

    fn check_rows(&self, kafka: &Kafka) -> Result<()> {
        let mut held: Vec<Sent> = Vec::new();
        for record in records::read(&self.client, &self.job.input, Isolation::ReadCommitted)? {
            let row: Row = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
            held.push(Sent {
                id: row.id,
                key: row.k,
                sequence: row.seq,
            });
        }
        held.sort_by_key(|s| s.id);
        let sent: Vec<Sent> = (0..self.summary.records).map(input::record).collect();
        ensure!(
            held == sent,
            "the input topic does not hold what was sent: the test itself is broken"
        );

        let expected: Vec<Sent> = sent.into_iter().filter(|s| Job::passes(s.id)).collect();
        let mut received = Vec::with_capacity(expected.len());
        for record in kafka.read_by_console(&self.job.output)? {
            let row: Row =
                serde_json::from_slice(record.value.as_deref().unwrap_or_default()).with_context(|| {
                    format!(
                        "the output at {}-{}: {}",
                        record.partition,
                        record.offset,
                        record.text()
                    )
                })?;
            ensure!(
                row.twice == Some(row.id * 2),
                "a wrong value in the output: {}",
                record.text()
            );
            let sent = Sent {
                id: row.id,
                key: row.k,
                sequence: row.seq,
            };
            received.push(Received {
                sent,
                partition: record.partition,
                offset: record.offset,
            });
        }
        let findings = checker::check(&expected, &received);
        if !findings.is_clean() {
            bail!(
                "{} records expected, {} read:\n{findings}",
                expected.len(),
                received.len()
            );
        }
        Ok(())
    }

    fn check_transactions(&self, kafka: &Kafka) -> Result<()> {
        let prefix = &self.job.transactional_id_prefix;
        let open: Vec<_> = kafka
            .transactions()?
            .into_iter()
            .filter(|t| t.transactional_id.starts_with(prefix.as_str()) && t.is_open())
            .collect();
        ensure!(open.is_empty(), "transactions are left open: {open:?}");
        for output in self.job.outputs() {
            let stable = records::end_offsets(&self.client, &output, Isolation::ReadCommitted)?;
            let all = records::end_offsets(&self.client, &output, Isolation::ReadUncommitted)?;
            ensure!(
                stable == all,
                "records of {output} are undecided: {stable:?} of {all:?}"
            );
        }
        Ok(())
    }
}

fn reach(kafka: &Kafka, line: Line) -> Result<Vec<(String, String)>> {
    let own = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    match line {
        Line::Plain => Ok(own(&[("properties.bootstrap.servers", &kafka.bootstrap())])),
        Line::Secure => {
            let secure = kafka.secure().context("the cluster has no SASL_SSL listener")?;
            let jaas = secure.login("SCRAM-SHA-512");
            Ok(own(&[
                ("properties.bootstrap.servers", &secure.bootstrap),
                ("properties.security.protocol", "SASL_SSL"),
                ("properties.sasl.mechanism", "SCRAM-SHA-512"),
                ("properties.sasl.jaas.config", &jaas),
                ("properties.ssl.truststore.type", "PEM"),
                (
                    "properties.ssl.truststore.location",
                    &secure.ca_pem.display().to_string(),
                ),
            ]))
        }
    }
}
