//! The connectors and formats of a binary. The planner and the runtime name none themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;

use crate::format::Format;
use crate::option::OptionSpec;
use crate::sink::SinkFactory;
use crate::source::SourceFactory;

/// A connector by its identifier, the value of 'connector' in a WITH clause.
pub trait Connector: Send + Sync {
    fn identifier(&self) -> &'static str;
    fn options(&self) -> &'static [OptionSpec];
    fn source(&self) -> Option<&dyn SourceFactory>;
    fn sink(&self) -> Option<&dyn SinkFactory>;
}

/// What Apache Flink 2.1 and its connector projects have and we do not, to be refused by name.
const FLINK_CONNECTORS: &[&str] = &[
    "jdbc",
    "elasticsearch-6",
    "elasticsearch-7",
    "elasticsearch-8",
    "opensearch",
    "opensearch-2",
    "kinesis",
    "firehose",
    "dynamodb",
    "hbase-1.4",
    "hbase-2.2",
    "mongodb",
    "pulsar",
    "upsert-pulsar",
    "hive",
    "iceberg",
    "python-input-format",
    "socket",
];
const FLINK_FORMATS: &[&str] = &[
    "avro",
    "avro-confluent",
    "debezium-avro-confluent",
    "canal-json",
    "maxwell-json",
    "ogg-json",
    "protobuf",
    "orc",
];

#[derive(Clone, Default)]
pub struct Registry {
    connectors: BTreeMap<&'static str, Arc<dyn Connector>>,
    formats: BTreeMap<&'static str, Arc<dyn Format>>,
}

impl Registry {
    pub fn add_connector(&mut self, connector: Arc<dyn Connector>) {
        self.connectors.insert(connector.identifier(), connector);
    }

    pub fn add_format(&mut self, format: Arc<dyn Format>) {
        self.formats.insert(format.identifier(), format);
    }

    pub fn connectors(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.connectors.values()
    }

    pub fn format(&self, table: &str, identifier: &str) -> Result<&Arc<dyn Format>> {
        self.formats.get(identifier).ok_or_else(|| {
            let known: Vec<_> = self.formats.keys().copied().collect();
            if FLINK_FORMATS.contains(&identifier) {
                return Error::unsupported(format!("the format '{identifier}' of table '{table}'"))
                    .with_hint(format!("formats are: {}", known.join(", ")));
            }
            Error::user(format!("table '{table}' has an unknown format '{identifier}'"))
                .with_hint(format!("formats are: {}", known.join(", ")))
        })
    }

    pub fn connector(&self, table: &TableSpec) -> Result<&Arc<dyn Connector>> {
        let Some(identifier) = table.options.get("connector") else {
            return Err(
                Error::user(format!("table '{}' lacks the option 'connector'", table.name))
                    .with_hint("add WITH ('connector' = '...')"),
            );
        };
        self.connectors.get(identifier.as_str()).ok_or_else(|| {
            let known: Vec<_> = self.connectors.keys().copied().collect();
            if FLINK_CONNECTORS.contains(&identifier.as_str()) {
                return Error::unsupported(format!("the connector '{identifier}' of table '{}'", table.name))
                    .with_hint(format!("connectors are: {}", known.join(", ")));
            }
            Error::user(format!(
                "table '{}' has an unknown connector '{identifier}'",
                table.name
            ))
            .with_hint(format!("connectors are: {}", known.join(", ")))
        })
    }

    pub fn source(&self, table: &TableSpec) -> Result<&dyn SourceFactory> {
        let connector = self.connector(table)?;
        connector.source().ok_or_else(|| {
            Error::user(format!(
                "table '{}' cannot be read: connector '{}' is for writing only",
                table.name,
                connector.identifier()
            ))
        })
    }

    pub fn sink(&self, table: &TableSpec) -> Result<&dyn SinkFactory> {
        let connector = self.connector(table)?;
        connector.sink().ok_or_else(|| {
            Error::user(format!(
                "table '{}' cannot be written: connector '{}' is for reading only",
                table.name,
                connector.identifier()
            ))
        })
    }
}
