//! Writing tables to Kafka.
//!
//! Layout: `options` what the table's options mean here, `encode` rows to records, `outbox` records
//! that wait for room, `buffer` changes that are held back, `at_least_once` and `exactly_once` the two writers, `claim` ids that two
//! sinks would share, `state` what writers put into checkpoints, `figures` their metrics,
//! `recovery` what is committed, aborted and fenced before a new attempt, `stragglers` what is fenced
//! after it, `librdkafka` the client.
//! The seam between the writers and the client is `crate::writer`.

mod at_least_once;
mod buffer;
mod claim;
mod encode;
mod exactly_once;
mod figures;
mod librdkafka;
mod options;
mod outbox;
mod recovery;
mod state;
mod stragglers;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use millrace_connector_api::Registry;
use millrace_connector_api::sink::{
    RecoverContext, Recovered, SinkChangelog, SinkContext, SinkFactory, SinkTraits, SinkWriter,
};
use millrace_core::{Error, Result};
use millrace_dataflow::{SinkSpec, TableSpec};
use millrace_expr::Field;
use millrace_kafka_wire::{Admin, ResponseError, Topic};

use self::at_least_once::AtLeastOnce;
use self::buffer::Buffered;
use self::claim::Claim;
use self::encode::RecordEncoder;
use self::exactly_once::{ExactlyOnce, IDS, Ids};
use self::figures::Figures;
use self::librdkafka::Librdkafka;
use self::recovery::{Plan, Proof};
use self::state::{AttemptRecord, WriterState};
use self::stragglers::Stragglers;
use crate::options::{DeliveryGuarantee, Partitioner, TableOptions};
use crate::properties::Role;
use crate::writer::Client;

/// The writable side of the connector 'kafka'.
pub struct Sink {
    formats: Registry,
}

impl Sink {
    pub fn new(formats: Registry) -> Self {
        Sink { formats }
    }

    fn options(&self, table: &TableSpec) -> Result<TableOptions> {
        TableOptions::parse(table, &self.formats)
    }
}

impl SinkFactory for Sink {
    fn metadata(&self, table: &TableSpec) -> Result<Vec<Field>> {
        // Flink's table of several topics has a column that says which; ours says that it cannot be.
        options::topic(&table.name, &self.options(table)?.topics)?;
        Ok(encode::metadata())
    }

    fn validate(&self, table: &TableSpec) -> Result<SinkTraits> {
        let options = self.options(table)?;
        options::topic(&table.name, &options.topics)?;
        options::transaction_timeout(&options)?;
        options::check_idempotence(&options)?;
        let spec = SinkSpec {
            table: table.clone(),
            metadata: Vec::new(),
        };
        RecordEncoder::new(&spec, &options)?;
        Ok(SinkTraits {
            needs_checkpoints: options.guarantee == DeliveryGuarantee::ExactlyOnce,
            parallelism: options.sink_parallelism,
            changelog: match (options.upsert, options.value.format.is_changelog()) {
                (true, _) => SinkChangelog::Upsert,
                (false, true) => SinkChangelog::All,
                (false, false) => SinkChangelog::Inserts,
            },
        })
    }

    fn check(&self, spec: &SinkSpec) -> Result<()> {
        let options = self.options(&spec.table)?;
        let topic = options::topic(&spec.table.name, &options.topics)?;
        options.properties.warn(Role::Producer);
        let client_properties = options::properties(&options)?;
        let is_transactional = options.guarantee == DeliveryGuarantee::ExactlyOnce;
        let timeout = options::transaction_timeout(&options)?;
        librdkafka::check(&client_properties, topic, is_transactional.then_some(timeout))
            .map_err(|e| in_table(e, &spec.table.name))?;
        let admin = Admin::new(options.properties.wire()?)?;
        blocking(async {
            partitions(&admin, &spec.table.name, topic).await?;
            if is_transactional {
                options::check_transaction_timeout(&admin, &options).await?;
            }
            Ok(())
        })
    }

    fn attempt_record(&self, spec: &SinkSpec, attempt: u64, parallelism: usize) -> Result<Vec<u8>> {
        let options = self.options(&spec.table)?;
        match prefix(&options) {
            None => Ok(Vec::new()),
            Some(prefix) => AttemptRecord::new(prefix, attempt, parallelism, IDS).encode(),
        }
    }

    fn recover(&self, spec: &SinkSpec, context: RecoverContext) -> Result<Recovered> {
        let options = self.options(&spec.table)?;
        let states = |all: &[Vec<u8>]| {
            all.iter()
                .map(|s| WriterState::decode(s))
                .collect::<Result<Vec<_>>>()
        };
        let restored = states(&context.restored)?;
        let newest = context.newest.as_deref().map(states).transpose()?;
        let mut earlier = Vec::new();
        for record in &context.earlier_attempts {
            earlier.extend(AttemptRecord::decode(record)?);
        }
        let is_idle = restored
            .iter()
            .chain(newest.iter().flatten())
            .all(|s| s.prepared.is_empty());
        // A sink that never was exactly-once has left nothing behind.
        let prefix = prefix(&options);
        if prefix.is_none() && is_idle && earlier.is_empty() {
            return Ok(Recovered::default());
        }
        let proof = Proof {
            committed: context.committed,
            newest: newest.as_deref(),
            elsewhere: context.elsewhere,
        };
        let plan = Plan::new(prefix, &restored, proof, &earlier);
        let admin = Admin::new(options.properties.wire()?)?;
        let fencing_timeout = options::transaction_timeout(&options)?;
        blocking(recovery::run(&admin, plan, fencing_timeout, context.may_lose))
    }

    fn open(&self, spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn SinkWriter>> {
        let options = self.options(&spec.table)?;
        let topic = options::topic(&spec.table.name, &options.topics)?;
        let admin = Admin::new(options.properties.wire()?)?;
        let partition = match options.partitioner {
            Partitioner::Default | Partitioner::RoundRobin => None,
            Partitioner::Fixed => {
                let count = blocking(partitions(&admin, &spec.table.name, topic))?;
                Some((context.subtask % count) as i32)
            }
        };
        let encoder = RecordEncoder::new(spec, &options)?;
        let client_properties = options::properties(&options)?;
        let figures = Arc::new(Figures::default());
        let client = Librdkafka {
            topic: topic.to_owned(),
            partition,
            properties: client_properties.properties,
            tokens: client_properties.tokens,
            transaction_timeout: options::transaction_timeout(&options)?,
            admin: admin.clone(),
            runtime: context.runtime.clone(),
            figures: figures.clone(),
        };
        let (waker, runtime) = (context.waker.clone(), context.runtime.clone());
        let writer: Box<dyn SinkWriter> = match prefix(&options) {
            None => {
                let writer = client.plain(context.waker)?;
                Box::new(AtLeastOnce::new(writer, encoder, figures))
            }
            Some(prefix) => {
                let claim = Claim::new(
                    &spec.table.name,
                    options.properties.bootstrap(),
                    &format!("{prefix}-{}-{}-", context.attempt, context.subtask),
                )?;
                let ids = Ids {
                    prefix: prefix.to_owned(),
                    attempt: context.attempt,
                    subtask: context.subtask,
                    gated: context.gated,
                };
                let stragglers = (context.subtask == 0).then(|| {
                    Stragglers::new(
                        admin,
                        context.runtime,
                        context.waker.clone(),
                        prefix.to_owned(),
                        context.attempt,
                    )
                });
                Box::new(ExactlyOnce::open(
                    Box::new(client),
                    encoder,
                    ids,
                    claim,
                    context.waker,
                    stragglers,
                    figures,
                )?)
            }
        };
        Ok(match (options.buffering, &options.key) {
            (Some(buffering), Some(key)) => Box::new(Buffered::new(
                writer,
                buffering,
                &key.columns,
                &spec.input().to_arrow(),
                waker,
                &runtime,
            )?),
            _ => writer,
        })
    }
}

fn in_table(e: Error, table: &str) -> Error {
    let detail = match e.detail() {
        Some(detail) => format!("table '{table}': {detail}"),
        None => format!("table '{table}'"),
    };
    e.with_detail(detail)
}

/// What transactional ids begin with; nothing where there are no transactions.
fn prefix(options: &TableOptions) -> Option<&str> {
    let is_transactional = options.guarantee == DeliveryGuarantee::ExactlyOnce;
    options
        .transactional_id_prefix
        .as_deref()
        .filter(|_| is_transactional)
}

/// How long a broker may not have heard yet of a topic that was made a moment ago.
const NEWS: Duration = Duration::from_secs(2);

/// The number of a topic's partitions, at least one.
async fn partitions(admin: &Admin, table: &str, topic: &str) -> Result<usize> {
    let asked = Instant::now();
    let found = loop {
        let metadata = admin.metadata(Some(&[topic.to_owned()])).await?;
        let found = metadata.topics.into_iter().find(|t| t.name == topic);
        let is_unknown = |t: &Topic| t.error == Some(ResponseError::UnknownTopicOrPartition);
        if !found.as_ref().is_some_and(is_unknown) || asked.elapsed() > NEWS {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let detail = format!("table '{table}': topic '{topic}'");
    match found {
        Some(t) if t.error == Some(ResponseError::UnknownTopicOrPartition) => {
            Err(Error::user("a topic that is written does not exist")
                .with_detail(detail)
                .with_hint("create it, or correct the option 'topic'"))
        }
        Some(t) => match t.error {
            None if !t.partitions.is_empty() => Ok(t.partitions.len()),
            None => Err(Error::external("a topic that is written has no partitions yet").with_detail(detail)),
            Some(error) => Err(Error::external("a topic cannot be written")
                .with_detail(format!("{detail}: {error}"))
                .with_hint("see whether the topic's name is right and the user may write it")),
        },
        None => Err(Error::external("Kafka says nothing about a topic that is written").with_detail(detail)),
    }
}

/// Runs a call to its end, whatever thread this is: one of a runtime may not wait for its own.
fn blocking<T: Send>(call: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::external("no thread for asking Kafka could be started").with_source(e))?;
        runtime.block_on(call)
    };
    thread::scope(|scope| {
        scope
            .spawn(run)
            .join()
            .unwrap_or_else(|_| Err(Error::internal("asking Kafka ended in a panic")))
    })
}
