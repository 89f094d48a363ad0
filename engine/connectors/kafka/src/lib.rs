//! The connectors `kafka` and `upsert-kafka`: Kafka topics as tables, read and written.
//!
//! It may depend on the engine's interface crates (`core`, `expr`, `dataflow`, `connector-api`) and
//! on `kafka-wire`; it names no format: those come with `KafkaConnector::new`.
//!
//! Invariants: offsets are numbers before the first record is read, and stand in the state from
//! then on; no call of a reader waits for a broker; no error and no log line holds a secret;
//! everything above `source::partition_reader` is the same whichever client reads.
//!
//! Layout: `options` the WITH clause, `topics` lists and patterns, `properties` the Java clients'
//! options for our clients, `metadata` columns beside key and value, `clients` the seam before all of them, `client` what
//! librdkafka clients share, `admin` topics, offsets and commits, `source` reading, `sink` writing, `writer`
//! the seam between the sink and its client, `nearest` hints.

pub mod admin;
mod client;
pub mod clients;
pub mod metadata;
mod nearest;
pub mod options;
pub mod properties;
pub mod sink;
pub mod source;
pub mod topics;
pub mod writer;

use std::sync::Arc;

use millrace_connector_api::sink::SinkFactory;
use millrace_connector_api::source::SourceFactory;
use millrace_connector_api::{Connector, OptionSpec, Registry};

use clients::{Clients, Librdkafka};

/// One of the two connectors, for a registry. What a table is follows from its own options.
pub struct KafkaConnector {
    identifier: &'static str,
    source: source::KafkaSource,
    sink: sink::Sink,
}

impl KafkaConnector {
    /// The connector `kafka`, whose tables can have these formats; connectors of the registry do not
    /// matter.
    pub fn new(formats: Registry) -> Self {
        KafkaConnector::with_clients(options::KAFKA, formats, Arc::new(Librdkafka))
    }

    /// The connector `upsert-kafka`.
    pub fn upsert(formats: Registry) -> Self {
        KafkaConnector::with_clients(options::UPSERT_KAFKA, formats, Arc::new(Librdkafka))
    }

    /// One of the two, `options::KAFKA` or `options::UPSERT_KAFKA`, with other clients.
    pub fn with_clients(identifier: &'static str, formats: Registry, clients: Arc<dyn Clients>) -> Self {
        KafkaConnector {
            identifier,
            source: source::KafkaSource::new(formats.clone(), clients.clone()),
            sink: sink::Sink::new(formats, clients),
        }
    }
}

impl Connector for KafkaConnector {
    fn identifier(&self) -> &'static str {
        self.identifier
    }

    fn options(&self) -> &'static [OptionSpec] {
        match self.identifier {
            options::UPSERT_KAFKA => &options::UPSERT_OPTIONS,
            _ => options::OPTIONS,
        }
    }

    fn source(&self) -> Option<&dyn SourceFactory> {
        Some(&self.source)
    }

    fn sink(&self) -> Option<&dyn SinkFactory> {
        Some(&self.sink)
    }
}
