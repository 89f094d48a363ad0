//! The reading side.
//!
//! Layout: `partition_reader` the seam before the client, `librdkafka` its first implementation,
//! `reader` a subtask's reader, `rows` records to rows, `split` state, `assign` partitions to
//! subtasks, `offsets` where reading begins and ends, `background` discovery and commits.

pub mod assign;
mod background;
mod figures;
pub mod librdkafka;
mod offsets;
pub mod partition_reader;
mod reader;
mod rows;
pub mod split;

use std::time::Duration;

use millrace_connector_api::source::{
    SourceChangelog, SourceContext, SourceFactory, SourceReader, SourceTraits,
};
use millrace_connector_api::{Registry, Waker};
use millrace_core::{Error, Result};
use millrace_dataflow::{SourceSpec, TableSpec};
use millrace_expr::Field;

use crate::admin::Cluster;
use crate::metadata::Metadata;
use crate::options::{Bounded, Startup, TableOptions};
use crate::properties::Role;
use crate::topics::Topics;
use librdkafka::LibrdkafkaReader;

/// What the keys of a value format's metadata begin with.
const VALUE_METADATA: &str = "value.";

/// How long a check before the start waits for brokers.
const CHECK: Duration = Duration::from_secs(15);

pub struct KafkaSource {
    formats: Registry,
}

impl KafkaSource {
    pub fn new(formats: Registry) -> Self {
        KafkaSource { formats }
    }

    fn options(&self, table: &TableSpec) -> Result<TableOptions> {
        let options = TableOptions::parse(table, &self.formats)?;
        let needs_group = [
            ("scan.startup.mode", options.startup == Startup::Group),
            ("scan.bounded.mode", options.bounded == Bounded::Group),
        ];
        for (key, needed) in needs_group {
            if needed && options.properties.group_id().is_none() {
                return Err(Error::user(format!(
                    "table '{}' starts or ends at a group's offsets but has no group",
                    table.name
                ))
                .with_detail(format!("'{key}' = 'group-offsets'"))
                .with_hint("add 'properties.group.id' = '...', or choose another mode"));
            }
        }
        Ok(options)
    }
}

impl SourceFactory for KafkaSource {
    fn metadata(&self, table: &TableSpec) -> Result<Vec<Field>> {
        let of_value = self.options(table)?.value.format.metadata();
        Ok(of_value
            .into_iter()
            .map(|f| Field::new(format!("{VALUE_METADATA}{}", f.name), f.data_type))
            .chain(Metadata::ALL.iter().map(|m| m.field()))
            .collect())
    }

    fn validate(&self, table: &TableSpec) -> Result<SourceTraits> {
        let options = self.options(table)?;
        for payload in std::iter::once(&options.value).chain(&options.key) {
            payload.format.validate(table, &payload.prefix, &payload.fields)?;
        }
        Ok(SourceTraits {
            idle_timeout: options.idle_timeout,
            bounded: options.bounded != Bounded::Unbounded,
            parallelism: options.scan_parallelism,
            changelog: match (options.upsert, options.value.format.is_changelog()) {
                (true, _) => SourceChangelog::Upsert,
                (false, true) => SourceChangelog::All,
                (false, false) => SourceChangelog::Inserts,
            },
        })
    }

    fn check(&self, spec: &SourceSpec) -> Result<()> {
        let options = self.options(&spec.table)?;
        options.properties.warn(Role::Consumer);
        let reader = LibrdkafkaReader::open(&options.properties, &options.startup, Waker::default())?;
        // It joins threads, for which nobody has to wait.
        std::thread::spawn(move || drop(reader));
        let cluster = Cluster::without_group(&options.properties, CHECK)?;
        let partitions = cluster.partitions(&options.topics)?;
        if partitions.is_empty()
            && let Topics::Pattern(_) = &options.topics
        {
            let table = &spec.table.name;
            if options.discovery.is_none() {
                return Err(Error::user(format!("no topic of table '{table}' exists"))
                    .with_detail(options.topics.describe())
                    .with_hint("without partition discovery a pattern must match a topic at the start"));
            }
            tracing::warn!(%table, topics = %options.topics.describe(), "no topic matches yet");
        }
        Ok(())
    }

    fn open(&self, spec: &SourceSpec, context: SourceContext) -> Result<Box<dyn SourceReader>> {
        let options = self.options(&spec.table)?;
        // Connects while the offsets are asked for.
        let partitions =
            LibrdkafkaReader::open(&options.properties, &options.startup, context.waker.clone())?;
        let cluster = Cluster::connect(&options.properties, options.properties.call_timeout())?;
        Ok(Box::new(reader::KafkaReader::open(
            spec,
            &options,
            context,
            Box::new(partitions),
            cluster,
        )?))
    }
}
