//! The sink against real brokers: what a checkpoint holds becomes visible once, what it does not never.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, MapBuilder, MapFieldNames, StringArray, StringBuilder,
    TimestampMillisecondArray,
};
use arrow::record_batch::RecordBatch;
use millrace_connector_api::format::{Decoder, Encoder, Format, Payloads};
use millrace_connector_api::sink::{RecoverContext, Recovered, SinkContext, SinkFactory, SinkWriter};
use millrace_connector_api::{ChangeBatch, OptionSpec, Registry, Waker};
use millrace_connector_kafka::sink::Sink;
use millrace_core::{CheckpointId, Configuration, Error, ErrorKind, Result};
use millrace_dataflow::{SinkSpec, TableSpec};
use millrace_expr::{DataType, Field, RowType};
use millrace_testkit::kafka::{Kafka, Options, Version};
use millrace_testkit::records::{self, Isolation};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

const PATIENCE: Duration = Duration::from_secs(90);
/// Transactional ids of a subtask.
const IDS: u64 = 64;

/// A column of text as it is.
struct Text;

struct TextEncoder;

impl Format for Text {
    fn identifier(&self) -> &'static str {
        "text"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn decoder(&self, _: &TableSpec, _: &str, _: &RowType) -> Result<Box<dyn Decoder>> {
        Err(Error::unsupported("reading text"))
    }

    fn encoder(&self, _: &TableSpec, _: &str, _: &RowType) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(TextEncoder))
    }

    fn validate(&self, _: &TableSpec, _: &str, _: &[Field]) -> Result<()> {
        Ok(())
    }
}

impl Encoder for TextEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        for value in batch.rows.column(0).as_string::<i32>() {
            out.push(value.map(str::as_bytes));
        }
        Ok(())
    }
}

/// One job's sink; attempts and checkpoints are the test's.
struct Job {
    bootstrap: String,
    topic: String,
    prefix: String,
    sink: Sink,
    runtime: tokio::runtime::Runtime,
    options: Vec<(&'static str, String)>,
    attempts: Vec<Vec<u8>>,
}

impl Job {
    fn new(kafka: &Kafka) -> Job {
        let topic = kafka.unique_topic("sink", 3);
        Job::on(kafka.bootstrap(), topic.clone(), topic)
    }

    fn on(bootstrap: String, topic: String, prefix: String) -> Job {
        let mut formats = Registry::default();
        formats.add_format(Arc::new(Text));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Job {
            bootstrap,
            topic,
            prefix,
            sink: Sink::new(formats),
            runtime,
            options: Vec::new(),
            attempts: Vec::new(),
        }
    }

    /// Another run of the same job.
    fn again(&self) -> Job {
        let mut job = Job::on(self.bootstrap.clone(), self.topic.clone(), self.prefix.clone());
        job.options.clone_from(&self.options);
        job.attempts.clone_from(&self.attempts);
        job
    }

    fn with(mut self, key: &'static str, value: &str) -> Job {
        self.options.push((key, value.to_owned()));
        self
    }

    fn spec(&self) -> SinkSpec {
        let mut options: Vec<(&str, String)> = vec![
            ("connector", "kafka".to_owned()),
            ("topic", self.topic.clone()),
            ("properties.bootstrap.servers", self.bootstrap.clone()),
            ("format", "text".to_owned()),
            ("sink.delivery-guarantee", "exactly-once".to_owned()),
            ("sink.transactional-id-prefix", self.prefix.clone()),
            ("properties.transaction.timeout.ms", "600000".to_owned()),
        ];
        options.extend(self.options.iter().cloned());
        let table = TableSpec {
            name: "t".to_owned(),
            options: options.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            columns: vec![Field::new("line", DataType::string())],
            metadata: Vec::new(),
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
        };
        SinkSpec {
            table,
            metadata: Vec::new(),
        }
    }

    /// Reserves ids and opens a subtask's writer, as a JobManager does it.
    fn open_subtask(&mut self, attempt: u64, subtask: usize, parallelism: usize) -> Subtask {
        self.open_spec(&self.spec(), attempt, subtask, parallelism)
    }

    fn open_spec(&mut self, spec: &SinkSpec, attempt: u64, subtask: usize, parallelism: usize) -> Subtask {
        self.open_gated(spec, attempt, subtask, parallelism, false)
    }

    fn open_gated(
        &mut self,
        spec: &SinkSpec,
        attempt: u64,
        subtask: usize,
        parallelism: usize,
        gated: bool,
    ) -> Subtask {
        let record = self.sink.attempt_record(spec, attempt, parallelism).unwrap();
        if !self.attempts.contains(&record) {
            self.attempts.push(record);
        }
        let waker = Waker::default();
        let context = SinkContext {
            config: Configuration::default(),
            job_name: "test".to_owned(),
            uid: "sink".to_owned(),
            subtask,
            parallelism,
            attempt,
            gated,
            waker: waker.clone(),
            runtime: self.runtime.handle().clone(),
        };
        Subtask {
            writer: self.sink.open(spec, context).unwrap(),
            waker,
        }
    }

    fn open(&mut self, attempt: u64) -> Subtask {
        self.open_subtask(attempt, 0, 1)
    }

    fn try_recover(&self, restored: &[Vec<u8>], newest: Option<&[Vec<u8>]>) -> Result<Recovered> {
        self.sink
            .recover(&self.spec(), self.recover_context(restored, newest))
    }

    fn recover_context(&self, restored: &[Vec<u8>], newest: Option<&[Vec<u8>]>) -> RecoverContext {
        RecoverContext {
            uid: "sink".to_owned(),
            config: Configuration::default(),
            runtime: self.runtime.handle().clone(),
            restored: restored.to_vec(),
            committed: false,
            newest: newest.map(<[Vec<u8>]>::to_vec),
            earlier_attempts: self.attempts.clone(),
            elsewhere: false,
            may_lose: false,
        }
    }

    fn recover(&self, restored: &[Vec<u8>]) -> Recovered {
        self.try_recover(restored, None).unwrap()
    }

    fn read(&self, isolation: Isolation) -> Vec<String> {
        let mut client = rdkafka::ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap);
        let mut lines: Vec<String> = records::read(&client, &self.topic, isolation)
            .unwrap()
            .iter()
            .map(|r| r.text())
            .collect();
        lines.sort();
        lines
    }

    fn committed(&self) -> Vec<String> {
        self.read(Isolation::ReadCommitted)
    }

    fn uncommitted(&self) -> Vec<String> {
        self.read(Isolation::ReadUncommitted)
    }
}

struct Subtask {
    writer: Box<dyn SinkWriter>,
    waker: Waker,
}

impl Subtask {
    fn wait<T>(&mut self, mut poll: impl FnMut(&mut dyn SinkWriter) -> Result<Poll<T>>) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Poll::Ready(value) = poll(&mut *self.writer)? {
                return Ok(value);
            }
            assert!(started.elapsed() < PATIENCE, "waited for too long");
            self.waker.wait(Duration::from_secs(30));
        }
    }

    fn try_write(&mut self, lines: &[&str]) -> Result<()> {
        self.wait(|w| w.poll_ready())?;
        let schema = RowType::new(vec![Field::new("line", DataType::string())]).to_arrow();
        let column = Arc::new(StringArray::from(lines.to_vec()));
        self.writer.write(&ChangeBatch::inserts(
            RecordBatch::try_new(schema, vec![column]).unwrap(),
        ))
    }

    fn write(&mut self, lines: &[&str]) {
        self.try_write(lines).unwrap();
    }

    fn try_snapshot(&mut self, checkpoint: u64) -> Result<Vec<u8>> {
        self.writer.begin_checkpoint(CheckpointId(checkpoint))?;
        self.wait(|w| w.poll_checkpoint())
    }

    fn snapshot(&mut self, checkpoint: u64) -> Vec<u8> {
        self.try_snapshot(checkpoint).unwrap()
    }

    fn try_complete(&mut self, checkpoint: u64) -> Result<()> {
        self.writer.checkpoint_complete(CheckpointId(checkpoint))?;
        self.wait(|w| w.poll_commits())
    }

    fn complete(&mut self, checkpoint: u64) {
        self.try_complete(checkpoint).unwrap();
    }

    /// The process is gone: nothing of the writer is ended or awaited.
    fn abandon(self) {
        drop(self);
    }
}

/// Transactional ids in a writer's state, in order.
fn handles(state: &[u8]) -> Vec<String> {
    let state: serde_json::Value = serde_json::from_slice(state).unwrap();
    let prepared = state["prepared"].as_array().unwrap();
    prepared
        .iter()
        .map(|p| p["handle"]["transactional_id"].as_str().unwrap().to_owned())
        .collect()
}

fn on_both(test: impl Fn(&Kafka)) {
    for version in [Version::Kafka39, Version::Kafka41] {
        test(Kafka::shared(version));
    }
}

#[test]
fn records_are_visible_once_their_checkpoint_is_complete() {
    on_both(|kafka| {
        let mut job = Job::new(kafka);
        let mut w = job.open(1);
        w.write(&["a", "b"]);
        let state = w.snapshot(1);
        assert_eq!(handles(&state).len(), 1);
        assert_eq!(job.uncommitted(), ["a", "b"], "flushed");
        assert!(
            job.committed().is_empty(),
            "not committed before the checkpoint is complete"
        );
        w.write(&["c"]);
        w.complete(1);
        assert_eq!(job.committed(), ["a", "b"]);
        w.snapshot(2);
        w.complete(2);
        assert_eq!(job.committed(), ["a", "b", "c"]);
        assert!(
            handles(&w.snapshot(3)).is_empty(),
            "a transaction without records has no handle"
        );
    });
}

#[test]
fn a_prepared_transaction_is_committed_by_recovery_and_what_follows_is_aborted() {
    on_both(|kafka| {
        let mut job = Job::new(kafka);
        let mut w = job.open(1);
        w.write(&["a", "b"]);
        let state = w.snapshot(1);
        w.write(&["lost"]);
        let _ = w.snapshot(2);
        w.abandon();
        let recovered = job.recover(std::slice::from_ref(&state));
        assert_eq!(recovered.committed, 1);
        assert!(recovered.fenced >= 1);
        assert_eq!(job.committed(), ["a", "b"]);
        // A crash within recovery is followed by another one: nothing changes, nothing is repeated.
        for _ in 0..2 {
            assert_eq!(job.recover(std::slice::from_ref(&state)).committed, 0);
            assert_eq!(job.committed(), ["a", "b"]);
        }
        let mut w = job.open(2);
        w.write(&["c"]);
        let state = w.snapshot(2);
        w.complete(2);
        assert_eq!(job.committed(), ["a", "b", "c"]);
        w.abandon();
        // Now the ids of the first attempt's handles can be fenced too.
        assert!(handles(&state).iter().all(|id| id.contains("-2-0-")));
        let recovered = job.recover(&[state]);
        assert_eq!(recovered.committed, 0, "committed before");
        assert!(recovered.fenced >= 2);
        assert_eq!(job.committed(), ["a", "b", "c"]);
    });
}

#[test]
fn an_id_rests_until_a_checkpoint_without_its_handle_is_complete() {
    let mut job = Job::new(Kafka::shared(Version::Kafka39));
    let mut w = job.open(1);
    let mut newest: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for checkpoint in 1..=12 {
        w.write(&[&format!("{checkpoint:02}")]);
        let state = w.snapshot(checkpoint);
        let own = handles(&state).pop().unwrap();
        // While this checkpoint's transaction was open, the one before was the newest complete.
        assert!(
            !newest.contains(&own),
            "checkpoint {checkpoint} used {own} again too early"
        );
        newest = handles(&state);
        seen.insert(own);
        w.complete(checkpoint);
    }
    assert!(seen.len() <= 4, "ids go round: {seen:?}");
    assert_eq!(job.committed().len(), 12);
    // Whatever is open now, restoring the newest checkpoint commits none of it.
    let state = w.snapshot(13);
    w.complete(13);
    w.write(&["open"]);
    let _ = w.snapshot(14);
    w.abandon();
    job.recover(&[state]);
    assert_eq!(job.committed().len(), 12);
}

#[test]
fn a_declined_checkpoint_carries_its_handle_on() {
    let mut job = Job::new(Kafka::shared(Version::Kafka39));
    let mut w = job.open(1);
    w.write(&["a"]);
    let first = handles(&w.snapshot(1));
    w.write(&["b"]);
    let second = handles(&w.snapshot(2));
    assert_eq!(second.len(), 2);
    assert_eq!(second[0], first[0], "oldest first");
    assert!(job.committed().is_empty());
    w.write(&["c"]);
    let state = w.snapshot(3);
    assert_eq!(handles(&state).len(), 3);
    w.complete(3);
    assert_eq!(job.committed(), ["a", "b", "c"]);
    w.write(&["d"]);
    let state = w.snapshot(4);
    w.write(&["e"]);
    let last = w.snapshot(5);
    assert_eq!(handles(&last).len(), 2);
    w.abandon();
    drop(state);
    assert_eq!(job.recover(&[last]).committed, 2);
    assert_eq!(job.committed(), ["a", "b", "c", "d", "e"]);
}

#[test]
fn checkpoints_that_never_complete_end_in_back_pressure() {
    let mut job = Job::new(Kafka::shared(Version::Kafka39));
    let mut w = job.open(1);
    for checkpoint in 1..=IDS {
        w.write(&[&format!("{checkpoint:02}")]);
        assert_eq!(handles(&w.snapshot(checkpoint)).len() as u64, checkpoint);
    }
    assert!(w.writer.poll_ready().unwrap().is_pending(), "all ids are in use");
    w.complete(IDS);
    assert_eq!(job.committed().len() as u64, IDS);
    assert!(
        w.writer.poll_ready().unwrap().is_pending(),
        "the newest checkpoint still holds them"
    );
    assert!(handles(&w.snapshot(IDS + 1)).is_empty());
    w.complete(IDS + 1);
    w.write(&["one more"]);
    w.snapshot(IDS + 2);
    w.complete(IDS + 2);
    assert_eq!(job.committed().len() as u64, IDS + 1);
}

#[test]
fn transactions_that_wait_for_long_commit_in_order_without_their_client() {
    on_both(|kafka| {
        let mut job = Job::new(kafka);
        let mut w = job.open(1);
        let lines: Vec<String> = (1..=10).map(|n| format!("{n:02}")).collect();
        for (n, line) in (1..).zip(&lines) {
            w.write(&[line]);
            w.snapshot(n);
        }
        w.complete(9);
        assert_eq!(job.committed(), lines[..9]);
        // The rest is committed by a recovery.
        let state = w.snapshot(11);
        assert_eq!(handles(&state).len(), 1);
        w.abandon();
        assert_eq!(job.recover(&[state]).committed, 1);
        assert_eq!(job.committed(), lines);
    });
}

/// The barrier that would free an id is behind the records that wait for one.
#[test]
fn a_writer_behind_a_channel_fails_where_waiting_would_be_for_ever() {
    let mut job = Job::new(Kafka::shared(Version::Kafka39));
    let spec = job.spec();
    let mut w = job.open_gated(&spec, 1, 0, 1, true);
    for checkpoint in 1..=IDS {
        w.write(&["x"]);
        w.snapshot(checkpoint);
    }
    let e = w.try_write(&["y"]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::External, "{e}");
    assert!(e.to_string().contains("no transactional id left"), "{e}");
}

/// A deposed attempt that does not know it opens an id that the recovery could not know.
#[test]
fn what_a_zombie_opens_after_the_recovery_is_aborted_too() {
    on_both(|kafka| {
        let mut job = Job::new(kafka);
        let mut zombie = job.open(1);
        zombie.write(&["a"]);
        let state = zombie.snapshot(1);
        job.recover(&[state]);
        let mut w = job.open(2);
        // The first checkpoint has taken its only id, and another one is opened now.
        zombie.write(&["zombie"]);
        w.write(&["b"]);
        w.snapshot(2);
        w.complete(2);
        millrace_testkit::wait::until("the zombie's end", PATIENCE, || {
            let _ = w.writer.poll_ready();
            Ok((job.committed() == ["a", "b"]).then_some(()))
        })
        .unwrap();
        let e = zombie
            .try_write(&["z"])
            .and_then(|()| zombie.try_snapshot(2))
            .unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    });
}

#[test]
fn an_older_checkpoint_is_restored_without_committing_again() {
    let mut job = Job::new(Kafka::shared(Version::Kafka41));
    let mut w = job.open(1);
    let mut states = Vec::new();
    for checkpoint in 1..=5 {
        w.write(&[&checkpoint.to_string()]);
        states.push(w.snapshot(checkpoint));
        w.complete(checkpoint);
    }
    // Until the id of checkpoint 1's handle has another open transaction.
    let first = states.remove(0);
    let mut checkpoint = 5;
    loop {
        checkpoint += 1;
        w.write(&[&checkpoint.to_string()]);
        let state = w.snapshot(checkpoint);
        if handles(&state).last() == handles(&first).last() {
            break;
        }
        states.push(state);
        w.complete(checkpoint);
    }
    let visible = job.committed();
    w.abandon();
    // The newest is known: what it does not hold is done.
    let recovered = job
        .try_recover(&[first], Some(&states[states.len() - 1..]))
        .unwrap();
    assert_eq!(recovered.committed, 0);
    assert_eq!(job.committed(), visible);
}

#[test]
fn without_knowing_the_newest_a_later_transaction_of_an_id_is_told_by_its_start() {
    let mut job = Job::new(Kafka::shared(Version::Kafka39));
    let mut w = job.open(1);
    w.write(&["1"]);
    let first = w.snapshot(1);
    w.complete(1);
    let mut checkpoint = 1;
    // Until the first id has another open transaction.
    loop {
        checkpoint += 1;
        w.write(&["x"]);
        let state = w.snapshot(checkpoint);
        if handles(&state).last() == handles(&first).last() {
            break;
        }
        w.complete(checkpoint);
    }
    let visible = job.committed();
    w.abandon();
    assert_eq!(job.recover(&[first]).committed, 0);
    assert_eq!(
        job.committed(),
        visible,
        "the open transaction was aborted, not committed"
    );
}

#[test]
fn commits_follow_checkpoints_and_parallelism_may_change() {
    let mut job = Job::new(Kafka::shared(Version::Kafka41));
    let mut a = job.open_subtask(1, 0, 2);
    let mut b = job.open_subtask(1, 1, 2);
    a.write(&["a1"]);
    b.write(&["b1"]);
    let (sa, sb) = (a.snapshot(1), b.snapshot(1));
    a.write(&["never"]);
    a.snapshot(2);
    a.abandon();
    b.abandon();
    assert_eq!(job.recover(&[sa, sb]).committed, 2);
    assert_eq!(job.committed(), ["a1", "b1"]);
    let mut w = job.open_subtask(2, 0, 1);
    w.write(&["c"]);
    w.snapshot(2);
    w.complete(2);
    assert_eq!(job.committed(), ["a1", "b1", "c"]);
}

#[test]
fn the_older_of_two_runs_says_so_and_stops() {
    let mut old = Job::new(Kafka::shared(Version::Kafka39));
    let mut w = old.open(1);
    w.write(&["a"]);
    w.snapshot(1);
    w.complete(1);
    w.write(&["b"]);
    w.waker.wait(Duration::ZERO);
    let mut new = old.again();
    new.recover(&[]);
    let mut w2 = new.open(2);
    // The old run finds out with its next checkpoint at the latest.
    let e = w.try_write(&["c"]).and_then(|()| w.try_snapshot(2)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    assert!(
        e.to_string().contains("another run of this job has taken over"),
        "{e}"
    );
    w2.write(&["d"]);
    w2.snapshot(2);
    w2.complete(2);
    assert_eq!(new.committed(), ["a", "d"]);
}

#[test]
fn a_run_whose_transaction_was_committed_by_its_successor_may_commit_it_again() {
    let mut old = Job::new(Kafka::shared(Version::Kafka41));
    let mut w = old.open(1);
    w.write(&["a"]);
    let state = w.snapshot(1);
    let new = old.again();
    assert_eq!(new.recover(&[state]).committed, 1);
    w.complete(1);
    assert_eq!(old.committed(), ["a"]);
}

#[test]
fn stragglers_of_our_prefix_are_aborted_and_others_are_left_alone() {
    let kafka = Kafka::shared(Version::Kafka39);
    let mut old = Job::new(kafka);
    let mut other = Job::on(kafka.bootstrap(), old.topic.clone(), format!("{}-x", old.prefix));
    let mut w = old.open(1);
    w.write(&["straggler"]);
    w.snapshot(1);
    w.abandon();
    let mut theirs = other.open(1);
    theirs.write(&["theirs"]);
    theirs.snapshot(1);
    // A fresh start, with no record of the earlier run.
    let fresh = Job::on(old.bootstrap.clone(), old.topic.clone(), old.prefix.clone());
    assert_eq!(
        fresh.recover(&[]),
        Recovered {
            fenced: 1,
            ..Recovered::default()
        }
    );
    theirs.complete(1);
    assert_eq!(other.committed(), ["theirs"]);
}

/// A broker of its own: it aborts what is open for more than a second.
#[test]
fn a_transaction_that_timed_out_is_loud() {
    let kafka = Kafka::start(Version::Kafka39, Options::default()).unwrap();
    let job = Job::new(&kafka).with("properties.transaction.timeout.ms", "1000");
    let aborted = |job: &Job, w: &mut Subtask| {
        // Only the coordinator ends it; that it has is seen by a reader that waits for nothing open.
        millrace_testkit::wait::until("the abort", PATIENCE, || {
            let _ = w.writer.poll_commits();
            Ok(kafka.transactions()?.iter().all(|t| !t.is_open()).then_some(()))
        })
        .unwrap();
        assert!(job.committed().is_empty());
    };

    // Before its checkpoint is complete: the task fails, and a restart loses nothing.
    let mut first = job.again();
    let mut w = first.open(1);
    w.write(&["a"]);
    w.snapshot(1);
    aborted(&first, &mut w);
    w.write(&["b"]);
    let e = w.try_snapshot(2).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::External, "{e}");
    w.abandon();

    // After: its records are lost, and neither the writer nor a recovery hides it.
    let mut second = first.again();
    let mut w = second.open(2);
    w.write(&["c"]);
    let state = w.snapshot(3);
    aborted(&second, &mut w);
    let e = w.try_complete(3).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DataLoss, "{e}");
    w.abandon();
    let mut context = second.recover_context(&[state], None);
    let e = second.sink.recover(&second.spec(), context.clone()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DataLoss, "{e}");
    assert!(e.to_string().contains("-2-0-"), "{e}");
    // Another folder's checkpoint, of which ours says nothing: no better.
    context.elsewhere = true;
    context.newest = Some(Vec::new());
    let e = second.sink.recover(&second.spec(), context.clone()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DataLoss, "{e}");
    // Who wants to go on without it can.
    context.may_lose = true;
    assert_eq!(second.sink.recover(&second.spec(), context).unwrap().lost, 1);
}

#[test]
fn a_lost_record_declines_the_checkpoint() {
    let kafka = Kafka::shared(Version::Kafka39);
    let mut job = Job::new(kafka);
    let mut w = job.open(1);
    w.write(&["a"]);
    w.snapshot(1);
    kafka.delete_topic(&job.topic).unwrap();
    let mut job2 = job.again().with("properties.delivery.timeout.ms", "2000");
    let e = (|| {
        let mut w = job2.open(2);
        w.try_write(&["b"])?;
        w.try_snapshot(2)
    })()
    .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::External, "{e}");
    assert!(e.to_string().contains("could not be written"), "{e}");
}

#[test]
fn at_least_once_is_acknowledged_before_a_checkpoint() {
    on_both(|kafka| {
        let mut job = Job::new(kafka).with("sink.delivery-guarantee", "at-least-once");
        assert!(job.sink.attempt_record(&job.spec(), 1, 1).unwrap().is_empty());
        let mut w = job.open(1);
        let lines: Vec<String> = (0..200_000).map(|i| format!("{i:06}")).collect();
        for chunk in lines.chunks(8192) {
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            w.write(&chunk);
        }
        assert!(w.snapshot(1).is_empty());
        w.abandon();
        assert_eq!(job.committed(), lines);
    });
}

#[test]
fn more_than_the_queue_holds_is_written_in_one_transaction() {
    let mut job = Job::new(Kafka::shared(Version::Kafka39));
    let mut w = job.open(1);
    let lines: Vec<String> = (0..300_000).map(|i| format!("{i:06}")).collect();
    let all: Vec<&str> = lines.iter().map(String::as_str).collect();
    w.write(&all);
    assert_eq!(handles(&w.snapshot(1)).len(), 1);
    w.complete(1);
    assert_eq!(job.committed(), lines);
}

#[test]
fn what_cannot_be_is_said_before_anything_starts() {
    let kafka = Kafka::shared(Version::Kafka39);
    let job = Job::new(kafka);
    job.sink.check(&job.spec()).unwrap();
    let too_long = job.again().with("properties.transaction.timeout.ms", "3600000");
    let e = too_long.sink.check(&too_long.spec()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::User, "{e}");
    assert!(
        e.to_string()
            .contains("'properties.transaction.timeout.ms' = '900000'"),
        "{e}"
    );
    let unknown = Job::on(kafka.bootstrap(), "no-such-topic".to_owned(), "p".to_owned());
    let e = unknown.sink.check(&unknown.spec()).unwrap_err();
    assert!(e.to_string().contains("no-such-topic"), "{e}");
    assert_eq!(e.kind(), ErrorKind::User);
}

#[test]
fn a_configuration_that_the_client_refuses_is_said_before_anything_starts() {
    let kafka = Kafka::shared(Version::Kafka39);
    let lingers = Job::new(kafka)
        .with("properties.linger.ms", "5000")
        .with("properties.delivery.timeout.ms", "2000");
    let e = lingers.sink.check(&lingers.spec()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::User, "{e}");
    assert!(
        e.to_string().contains("table 't'") && e.to_string().contains("linger.ms"),
        "{e}"
    );
    // What Java takes is taken: nothing is waited for beyond the transaction's timeout.
    let mut patient = Job::new(kafka)
        .with("properties.delivery.timeout.ms", "900000")
        .with("properties.request.timeout.ms", "2147483647");
    patient
        .options
        .retain(|(key, _)| *key != "properties.transaction.timeout.ms");
    patient = patient.with("properties.transaction.timeout.ms", "60000");
    patient.sink.check(&patient.spec()).unwrap();
    let mut w = patient.open(1);
    w.write(&["a"]);
    w.snapshot(1);
    w.complete(1);
    assert_eq!(patient.committed(), ["a"]);
}

#[test]
fn a_producer_without_idempotence_writes_but_not_exactly_once() {
    let kafka = Kafka::shared(Version::Kafka41);
    for (key, value) in [
        ("properties.acks", "1"),
        ("properties.acks", "0"),
        ("properties.retries", "0"),
        ("properties.max.in.flight.requests.per.connection", "10"),
        ("properties.enable.idempotence", "false"),
    ] {
        let job = Job::new(kafka).with(key, value);
        let e = job.sink.validate(&job.spec().table).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::User, "{e}");
        assert!(e.to_string().contains(&format!("'{key}' = '{value}'")), "{e}");
        let mut job = job.with("sink.delivery-guarantee", "at-least-once");
        job.sink.validate(&job.spec().table).unwrap();
        job.sink.check(&job.spec()).unwrap();
        let mut w = job.open(1);
        w.write(&["a", "b"]);
        w.snapshot(1);
        assert_eq!(job.committed(), ["a", "b"], "{key}");
    }
}

#[test]
fn several_topics_are_refused_by_name() {
    let kafka = Kafka::shared(Version::Kafka39);
    let job = Job::on(kafka.bootstrap(), "one;two".to_owned(), "p".to_owned());
    let mut pattern = job.spec().table;
    pattern.options.remove("topic");
    pattern
        .options
        .insert("topic-pattern".to_owned(), "o.*".to_owned());
    for (table, part) in [(job.spec().table, "several topics"), (pattern, "topic-pattern")] {
        // Of the metadata first: a column 'topic' is what such a table has in Flink.
        for e in [
            job.sink.metadata(&table).unwrap_err(),
            job.sink.validate(&table).unwrap_err(),
        ] {
            let said = e.to_string();
            assert!(said.contains(part) && said.contains("not supported"), "{said}");
        }
    }
}

#[test]
fn over_tls_and_sasl_both_clients_log_in() {
    let kafka = Kafka::start(Version::Kafka39, Options::default().secure()).unwrap();
    let secure = kafka.secure().unwrap();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] {
        let plain = Job::new(&kafka);
        let login = secure.login(mechanism);
        let mut job = plain
            .again()
            .with("properties.bootstrap.servers", &secure.bootstrap)
            .with("properties.security.protocol", "SASL_SSL")
            .with("properties.sasl.mechanism", mechanism)
            .with("properties.sasl.jaas.config", &login)
            .with(
                "properties.ssl.truststore.location",
                &secure.truststore.display().to_string(),
            )
            .with("properties.ssl.truststore.password", secure.truststore_password);
        job.sink.check(&job.spec()).unwrap();
        let mut w = job.open(1);
        w.write(&["a"]);
        let state = w.snapshot(1);
        w.write(&["b"]);
        w.snapshot(2);
        w.abandon();
        let recovered = job.recover(std::slice::from_ref(&state));
        assert_eq!(recovered.committed, 1, "{mechanism}");
        assert!(recovered.fenced >= 1, "{mechanism}");
        assert_eq!(plain.committed(), ["a"], "{mechanism}");
        // Another password, and a token without the scope: refused, not shown, and not tried again
        // (what is given up after a while is told as such).
        let right = match mechanism {
            "OAUTHBEARER" => secure.scope,
            _ => secure.password,
        };
        let wrong = job
            .again()
            .with("properties.sasl.jaas.config", &login.replace(right, "guess-42"));
        for e in [
            wrong.sink.check(&wrong.spec()).unwrap_err(),
            wrong.try_recover(&[state], None).unwrap_err(),
        ] {
            let e = e.to_string();
            assert!(e.starts_with("Kafka could not"), "{e}");
            assert!(e.contains(&format!("SASL {mechanism}: ")), "{e}");
            assert!(!e.contains("guess-42"), "{e}");
        }
    }
}

#[test]
fn a_coordinator_that_dies_is_followed_by_the_writer_and_by_recovery() {
    let mut kafka = Kafka::start(Version::Kafka41, Options::default().brokers(3)).unwrap();
    let mut job = Job::new(&kafka);
    let coordinator = |kafka: &Kafka, id: &str| {
        let all = kafka.transactions().unwrap();
        all.iter().find(|t| t.transactional_id == id).unwrap().coordinator as usize - 1
    };
    // Prepared, then its coordinator dies: the commit finds the next one.
    let mut w = job.open(1);
    w.write(&["a"]);
    let id = handles(&w.snapshot(1)).remove(0);
    let dead = coordinator(&kafka, &id);
    kafka.kill(dead).unwrap();
    w.complete(1);
    kafka.restart(dead).unwrap();
    // The same for a recovery.
    w.write(&["b"]);
    let state = w.snapshot(2);
    w.write(&["never"]);
    w.snapshot(3);
    w.abandon();
    let dead = coordinator(&kafka, &handles(&state)[0]);
    kafka.kill(dead).unwrap();
    assert_eq!(job.recover(&[state]).committed, 1);
    kafka.restart(dead).unwrap();
    assert_eq!(job.committed(), ["a", "b"]);
}

#[test]
fn a_checkpoint_of_another_folder_is_committed_though_ours_does_not_hold_it() {
    let kafka = Kafka::shared(Version::Kafka39);
    let mut other = Job::new(kafka);
    let mut w = other.open(1);
    w.write(&["theirs"]);
    let theirs = w.snapshot(1);
    w.abandon();
    let ours = Job::on(
        kafka.bootstrap(),
        other.topic.clone(),
        format!("{}-ours", other.prefix),
    );
    let mut context = ours.recover_context(&[theirs], Some(&[]));
    context.elsewhere = true;
    let recovered = ours.sink.recover(&ours.spec(), context.clone()).unwrap();
    assert_eq!(recovered.committed, 1);
    assert_eq!(other.committed(), ["theirs"]);
    // Once more, before anything is on record: the coordinator shows that it is committed.
    let recovered = ours.sink.recover(&ours.spec(), context).unwrap();
    assert_eq!((recovered.committed, recovered.lost), (0, 0));
}

#[test]
fn two_sinks_with_the_same_ids_are_refused() {
    let kafka = Kafka::shared(Version::Kafka39);
    let mut job = Job::new(kafka);
    let _first = job.open(1);
    let context = SinkContext {
        config: Configuration::default(),
        job_name: "test".to_owned(),
        uid: "other".to_owned(),
        subtask: 0,
        parallelism: 1,
        attempt: 1,
        gated: false,
        waker: Waker::default(),
        runtime: job.runtime.handle().clone(),
    };
    let e = job.sink.open(&job.spec(), context).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::User);
    assert!(e.to_string().contains("sink.transactional-id-prefix"), "{e}");
}

#[test]
fn keys_choose_partitions_as_in_java_and_metadata_is_written() {
    let kafka = Kafka::shared(Version::Kafka39);
    let mut job = Job::new(kafka)
        .with("sink.delivery-guarantee", "at-least-once")
        .with("key.format", "text")
        .with("key.fields", "k")
        .with("value.fields-include", "EXCEPT_KEY");
    // Hashes as in the Java client's own test of murmur2.
    let hashes: [(&str, i32); 3] = [("21", -973932308), ("foobar", -790332482), ("abc", 479470107)];
    let mut spec = job.spec();
    spec.table.options.remove("format");
    spec.table
        .options
        .insert("value.format".to_owned(), "text".to_owned());
    spec.table.columns.insert(0, Field::new("k", DataType::string()));
    spec.metadata = job.sink.metadata(&spec.table).unwrap();
    let names = MapFieldNames {
        entry: "entries".into(),
        key: "key".into(),
        value: "value".into(),
    };
    let mut headers = MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new());
    for _ in hashes {
        headers.keys().append_value("origin");
        headers.values().append_value(b"test");
        headers.keys().append_value("none");
        headers.values().append_null();
        headers.append(true).unwrap();
    }
    let keys = StringArray::from_iter_values(hashes.map(|(key, _)| key));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys),
        Arc::new(StringArray::from(vec![Some("a"), None, Some("")])),
        Arc::new(headers.finish()),
        Arc::new(TimestampMillisecondArray::from(vec![1_000, 2_000, 3_000]).with_timezone("UTC")),
    ];
    let batch = ChangeBatch::inserts(RecordBatch::try_new(spec.input().to_arrow(), columns).unwrap());
    let mut w = job.open_spec(&spec, 1, 0, 1);
    w.wait(|w| w.poll_ready()).unwrap();
    w.writer.write(&batch).unwrap();
    w.snapshot(1);
    let read = records::read(&kafka.client(), &job.topic, Isolation::ReadCommitted).unwrap();
    for (i, (key, hash)) in hashes.into_iter().enumerate() {
        let record = read.iter().find(|r| r.key_text() == key).unwrap();
        assert_eq!(record.partition, (hash & i32::MAX) % 3, "{key}");
        assert_eq!(record.timestamp, Some(1_000 * (i as i64 + 1)));
        assert_eq!(
            record.value.as_deref(),
            [Some(&b"a"[..]), None, Some(b"")][i],
            "null is not empty"
        );
        let headers = [
            ("origin".to_owned(), Some(b"test".to_vec())),
            ("none".to_owned(), None),
        ];
        assert_eq!(record.headers, headers);
    }
}

/// A table with a key `k` before its value `line`.
fn keyed_spec(job: &Job) -> SinkSpec {
    let mut spec = job.spec();
    spec.table.options.remove("format");
    for (key, value) in [
        ("value.format", "text"),
        ("key.format", "text"),
        ("key.fields", "k"),
        ("value.fields-include", "EXCEPT_KEY"),
    ] {
        spec.table.options.insert(key.to_owned(), value.to_owned());
    }
    spec.table.columns.insert(0, Field::new("k", DataType::string()));
    spec
}

#[test]
fn records_of_a_key_keep_their_order_though_the_queue_is_often_full() {
    const RECORDS: usize = 100_000;
    let kafka = Kafka::shared(Version::Kafka39);
    // At most some hundred records are in the client's queue.
    let mut job = Job::new(kafka)
        .with("sink.delivery-guarantee", "at-least-once")
        .with("properties.buffer.memory", "16384");
    let spec = keyed_spec(&job);
    let mut w = job.open_spec(&spec, 1, 0, 1);
    // An empty key is a key, a null is none.
    let key = |i: usize| match i % 50 {
        0 => None,
        1 => Some(String::new()),
        n => Some(format!("key {n}")),
    };
    let numbers: Vec<usize> = (0..RECORDS).collect();
    for chunk in numbers.chunks(20_000) {
        let keys: StringArray = chunk.iter().map(|&i| key(i)).collect();
        let values = StringArray::from_iter_values(chunk.iter().map(|i| format!("{i:020}")));
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values)];
        let batch = RecordBatch::try_new(spec.input().to_arrow(), columns).unwrap();
        w.wait(|w| w.poll_ready()).unwrap();
        w.writer.write(&ChangeBatch::inserts(batch)).unwrap();
    }
    w.snapshot(1);
    let mut read = records::read(&kafka.client(), &job.topic, Isolation::ReadCommitted).unwrap();
    assert_eq!(read.len(), RECORDS);
    read.sort_by_key(|r| (r.partition, r.offset));
    let mut last: HashMap<Vec<u8>, (i32, usize)> = HashMap::new();
    for record in read {
        let number: usize = record.text().parse().unwrap();
        assert_eq!(record.key.as_deref(), key(number).as_ref().map(|k| k.as_bytes()));
        let Some(key) = record.key else { continue };
        if let Some((partition, before)) = last.insert(key, (record.partition, number)) {
            assert_eq!(partition, record.partition, "a key has one partition");
            assert!(before < number, "{before} before {number}");
        }
    }
}

#[test]
fn records_without_a_key_are_spread_over_all_partitions() {
    let kafka = Kafka::shared(Version::Kafka41);
    let mut job = Job::new(kafka);
    let mut w = job.open(1);
    let lines: Vec<String> = (0..100_000).map(|i| format!("{i:0200}")).collect();
    for chunk in lines.chunks(8192) {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        w.write(&chunk);
    }
    w.snapshot(1);
    w.complete(1);
    let mut read = records::read(&kafka.client(), &job.topic, Isolation::ReadCommitted).unwrap();
    read.sort_by_key(|r| (r.partition, r.offset));
    assert_eq!(read.len(), lines.len());
    let mut shares = [0; 3];
    for pair in read.windows(2).filter(|p| p[0].partition == p[1].partition) {
        assert!(pair[0].text() < pair[1].text(), "in order within a partition");
    }
    read.iter().for_each(|r| shares[r.partition as usize] += 1);
    assert!(shares.iter().all(|s| *s > lines.len() / 6), "{shares:?}");
}

#[test]
fn partitions_that_are_new_are_written() {
    let kafka = Kafka::shared(Version::Kafka39);
    let mut job = Job::new(kafka)
        .with("sink.delivery-guarantee", "at-least-once")
        .with("properties.metadata.max.age.ms", "100");
    let mut w = job.open(1);
    w.write(&["a"]);
    w.snapshot(1);
    let admin: AdminClient<DefaultClientContext> = kafka.client().create().unwrap();
    let more = NewPartitions::new(&job.topic, 6);
    job.runtime
        .block_on(admin.create_partitions([&more], &AdminOptions::new()))
        .unwrap();
    let started = Instant::now();
    loop {
        w.write(&["b"]);
        w.snapshot(2);
        let read = records::read(&kafka.client(), &job.topic, Isolation::ReadCommitted).unwrap();
        if read.iter().any(|r| r.partition >= 3) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "no new partition was written");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_fixed_partitioner_writes_one_partition_a_subtask() {
    let kafka = Kafka::shared(Version::Kafka41);
    let mut job = Job::new(kafka).with("sink.partitioner", "fixed");
    for subtask in 0..4 {
        let mut w = job.open_subtask(1, subtask, 4);
        w.write(&[&format!("{subtask}a"), &format!("{subtask}b")]);
        w.snapshot(1);
        w.complete(1);
    }
    for record in records::read(&kafka.client(), &job.topic, Isolation::ReadCommitted).unwrap() {
        let subtask: i32 = record.text()[..1].parse().unwrap();
        assert_eq!(record.partition, subtask % 3);
    }
    assert_eq!(job.committed().len(), 8);
}

/// A subtask that counts, crashes, is declined, restores and leaves zombies, at random.
#[test]
fn whatever_happens_each_record_is_visible_once_and_in_order() {
    for (version, seed) in [(Version::Kafka39, 1), (Version::Kafka41, rand::random())] {
        println!("seed {seed}");
        random_life(Kafka::shared(version), seed);
    }
}

fn random_life(kafka: &Kafka, seed: u64) {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    let mut random = StdRng::seed_from_u64(seed);
    let topic = kafka.unique_topic("life", 1);
    let mut job = Job::on(kafka.bootstrap(), topic.clone(), topic);
    let (mut attempt, mut checkpoint, mut next) = (1, 0, 0_u64);
    let mut durable: (Vec<Vec<u8>>, u64) = (Vec::new(), 0);
    let mut zombies: Vec<Subtask> = Vec::new();
    let mut recovered = Recovered::default();
    let mut w = job.open(attempt);
    for _ in 0..40 {
        if random.random_bool(0.8) {
            let lines: Vec<String> = (next..next + random.random_range(1..200))
                .map(|n| format!("{n:08}"))
                .collect();
            w.write(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            next += lines.len() as u64;
        }
        let mut crashes = random.random_bool(0.15);
        if !crashes && random.random_bool(0.8) {
            checkpoint += 1;
            let state = w.snapshot(checkpoint);
            // Declined, or durable; then told or not.
            if random.random_bool(0.75) {
                durable = (vec![state], next);
                if random.random_bool(0.8) {
                    w.complete(checkpoint);
                } else {
                    crashes = true;
                }
            }
        }
        if crashes {
            if random.random_bool(0.5) {
                zombies.push(w);
            } else {
                w.abandon();
            }
            for _ in 0..random.random_range(1..3) {
                let now = job.recover(&durable.0);
                recovered.committed += now.committed;
                recovered.fenced += now.fenced;
            }
            attempt += 1;
            next = durable.1;
            w = job.open(attempt);
        }
        // A zombie does what it can until it is told that it is one; it cannot complete a checkpoint.
        zombies.retain_mut(|zombie| {
            if random.random_bool(0.5) && zombie.try_write(&["zombie"]).is_err() {
                return false;
            }
            if random.random_bool(0.3) && zombie.try_snapshot(checkpoint + 1000).is_err() {
                return false;
            }
            random.random_bool(0.8)
        });
    }
    checkpoint += 1;
    let last = w.snapshot(checkpoint);
    w.complete(checkpoint);
    // What a zombie has open hides all that follows it; the next recovery ends it.
    drop(zombies);
    job.recover(&[last]);
    let expected: Vec<String> = (0..next).map(|n| format!("{n:08}")).collect();
    let client = kafka.client();
    let read: Vec<String> = records::read(&client, &job.topic, Isolation::ReadCommitted)
        .unwrap()
        .iter()
        .map(|r| r.text())
        .collect();
    let differs = read.iter().zip(&expected).position(|(r, e)| r != e);
    assert!(
        read == expected,
        "seed {seed}: {} records, not {}; the first that differs is record {}; commits {:?}",
        read.len(),
        expected.len(),
        differs.unwrap_or(read.len().min(expected.len())),
        kafka
            .transactions()
            .unwrap()
            .iter()
            .filter(|t| t.transactional_id.starts_with(&job.prefix))
            .collect::<Vec<_>>(),
    );
    let open = kafka.transactions().unwrap();
    let open: Vec<_> = open
        .iter()
        .filter(|t| t.is_open() && t.transactional_id.starts_with(&job.prefix))
        .collect();
    println!("seed {seed}: {recovered:?} in {attempt} attempts, open at the end: {open:?}");
}
