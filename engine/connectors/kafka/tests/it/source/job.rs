//! A job's source as the runtime drives it: readers of all subtasks, their batches, their state.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::source::{SourceContext, SourceFactory, SourcePoll, SourceReader};
use millrace_connector_api::{Registry, Waker};
use millrace_connector_kafka::source::KafkaSource;
use millrace_core::{CheckpointId, Configuration, Result};
use millrace_dataflow::{MetadataField, SourceSpec, TableSpec};
use millrace_expr::{DataType, Field};
use millrace_testkit::kafka::{Kafka, Version};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn kafka() -> &'static Kafka {
    Kafka::shared(Version::Kafka39)
}

pub fn source() -> KafkaSource {
    let mut formats = Registry::default();
    millrace_formats::register(&mut formats);
    KafkaSource::new(formats)
}

/// A table `id BIGINT, name STRING` of JSON, read from the first record unless options say more.
pub fn table(kafka: &Kafka, topic: &str, options: &[(&str, &str)]) -> SourceSpec {
    let mut all: BTreeMap<String, String> = [
        ("connector", "kafka"),
        ("topic", topic),
        ("properties.bootstrap.servers", &kafka.bootstrap()),
        ("format", "json"),
        ("scan.startup.mode", "earliest-offset"),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect();
    for (key, value) in options {
        all.insert((*key).to_owned(), (*value).to_owned());
    }
    if all.contains_key("topic-pattern") {
        all.remove("topic");
    }
    if all.contains_key("value.format") {
        all.remove("format");
    }
    let table = TableSpec {
        name: "t".to_owned(),
        options: all,
        columns: vec![
            Field::new("id", DataType::bigint()),
            Field::new("name", DataType::string()),
        ],
        metadata: Vec::new(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    };
    SourceSpec {
        table,
        projection: vec![0, 1],
        metadata: Vec::new(),
    }
}

/// Adds metadata columns to the stream.
pub fn with_metadata(mut spec: SourceSpec, keys: &[&str]) -> SourceSpec {
    let known = source().metadata(&spec.table).unwrap();
    for key in keys {
        let field = known.iter().find(|f| f.name == *key).unwrap().clone();
        spec.table.metadata.push(MetadataField {
            column: (*key).to_owned(),
            key: (*key).to_owned(),
            data_type: field.data_type.clone(),
            is_virtual: true,
        });
        spec.metadata.push(field);
    }
    spec
}

fn runtime() -> tokio::runtime::Handle {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let build = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap()
    };
    RUNTIME.get_or_init(build).handle().clone()
}

pub struct Job {
    pub readers: Vec<Box<dyn SourceReader>>,
    wakers: Vec<Waker>,
    ended: Vec<bool>,
    pub batches: Vec<RecordBatch>,
}

impl Job {
    pub fn open(spec: &SourceSpec, parallelism: usize, restored: Option<&[Vec<u8>]>) -> Result<Job> {
        Self::open_with(spec, parallelism, restored, 1000)
    }

    pub fn open_with(
        spec: &SourceSpec,
        parallelism: usize,
        restored: Option<&[Vec<u8>]>,
        max_rows: usize,
    ) -> Result<Job> {
        let source = source();
        source.validate(&spec.table)?;
        source.check(spec)?;
        let (mut readers, mut wakers) = (Vec::new(), Vec::new());
        for subtask in 0..parallelism {
            let waker = Waker::default();
            let context = SourceContext {
                config: Configuration::default(),
                job_name: "test".to_owned(),
                uid: "source".to_owned(),
                subtask,
                parallelism,
                max_rows,
                waker: waker.clone(),
                restored: restored.map(<[Vec<u8>]>::to_vec),
                runtime: runtime(),
            };
            readers.push(source.open(spec, context)?);
            wakers.push(waker);
        }
        Ok(Job {
            ended: vec![false; parallelism],
            readers,
            wakers,
            batches: Vec::new(),
        })
    }

    /// Polls every reader once; whether any gave something.
    pub fn step(&mut self) -> Result<bool> {
        let mut moved = false;
        for (i, reader) in self.readers.iter_mut().enumerate() {
            match reader.poll()? {
                SourcePoll::Batch(batch) => {
                    let rows: usize = batch.splits.iter().map(|(_, n)| n).sum();
                    assert_eq!(rows, batch.batch.len(), "runs of splits cover the batch");
                    self.batches.push(batch.batch.rows);
                    moved = true;
                }
                SourcePoll::Pending => {}
                SourcePoll::End => self.ended[i] = true,
            }
        }
        Ok(moved)
    }

    /// Steps until `done`, sleeping on the wakers.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Job) -> bool) -> Result<()> {
        let started = Instant::now();
        loop {
            if done(self) {
                return Ok(());
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}; rows: {}",
                self.rows()
            );
            if !self.step()? && !done(self) {
                // One waker is enough to notice; the others are looked at soon.
                self.wakers[0].wait(Duration::from_millis(if self.wakers.len() == 1 {
                    1000
                } else {
                    10
                }));
            }
        }
    }

    pub fn read(&mut self, rows: usize) -> Result<()> {
        self.until(&format!("{rows} rows"), |job| job.rows() >= rows)?;
        assert_eq!(self.rows(), rows);
        Ok(())
    }

    pub fn run_to_end(&mut self) -> Result<()> {
        self.until("the end", |job| job.ended.iter().all(|e| *e))
    }

    pub fn snapshot(&mut self, id: u64) -> Vec<Vec<u8>> {
        self.readers
            .iter_mut()
            .flat_map(|r| r.snapshot(CheckpointId(id)).unwrap())
            .collect()
    }

    pub fn complete(&mut self, id: u64) {
        for reader in &mut self.readers {
            reader.checkpoint_complete(CheckpointId(id)).unwrap();
        }
    }

    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The first column, in the order of arrival.
    pub fn ids(&self) -> Vec<i64> {
        self.batches
            .iter()
            .flat_map(|b| {
                b.column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .iter()
                    .copied()
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    pub fn sorted_ids(&self) -> Vec<i64> {
        let mut ids = self.ids();
        ids.sort_unstable();
        ids
    }
}

/// The error of opening a job that cannot be opened.
pub fn refused(spec: &SourceSpec) -> String {
    match Job::open(spec, 1, None) {
        Ok(_) => panic!("the job was opened"),
        Err(e) => e.to_string(),
    }
}

pub fn json(id: i64) -> String {
    format!("{{\"id\":{id},\"name\":\"n{id}\"}}")
}

/// Writes ids to one partition.
pub fn write(kafka: &Kafka, topic: &str, partition: i32, ids: impl IntoIterator<Item = i64>) {
    let producer: BaseProducer = kafka.client().set("enable.idempotence", "true").create().unwrap();
    for id in ids {
        send(&producer, topic, partition, &json(id));
    }
    producer.flush(PATIENCE).unwrap();
}

pub fn send(producer: &BaseProducer, topic: &str, partition: i32, value: &str) {
    let mut record = BaseRecord::<(), str>::to(topic)
        .partition(partition)
        .payload(value);
    while let Err((e, back)) = producer.send(record) {
        assert_eq!(
            e.rdkafka_error_code(),
            Some(rdkafka::types::RDKafkaErrorCode::QueueFull)
        );
        producer.poll(Duration::from_millis(10));
        record = back;
    }
    producer.poll(Duration::ZERO);
}
