//! The formats `avro` and `avro-confluent`, with Flink's options, mapping of types and semantics.
//!
//! It may depend on `millrace-formats` and what stands below it. `avro-confluent` asks a schema registry
//! over HTTP, once for each schema: the one I/O of a format, for which a call waits.
//!
//! Schemas are parsed here, for what a decoder needs of them are the bytes that stand for a value, and
//! those the crate apache-avro does not tell of every logical type (a UUID may be text or 16 bytes).
//!
//! Invariants: a decoder goes over a record once and appends straight to Arrow buffers; no bytes,
//! however broken, make it panic or take memory out of proportion.
//!
//! Layout: `schema` Avro's schemas, `derive` those of tables, `plan` a writer's schema against columns,
//! `decode` records to columns, `encode` columns to records, `plain` and `confluent` the two formats,
//! `registry` the client of the registry.

mod confluent;
mod decode;
mod derive;
mod encode;
mod plain;
mod plan;
mod registry;
mod schema;

use std::sync::Arc;

use millrace_connector_api::Registry;

pub use confluent::AvroConfluent;
pub use plain::Avro;

/// Adds both formats.
pub fn register(registry: &mut Registry) {
    registry.add_format(Arc::new(Avro));
    registry.add_format(Arc::new(AvroConfluent));
}
