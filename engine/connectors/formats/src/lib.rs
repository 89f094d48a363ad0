//! Record formats: `json`, `debezium-json`, `csv` and `raw`, with Flink's options and semantics.
//!
//! It may depend on `millrace-connector-api` and what stands below it; it does no I/O.
//!
//! Invariants: a decoder goes over a payload once and appends straight to Arrow buffers, a payload
//! that is refused leaves no trace in them; no bytes, however broken, make a decoder panic; what an
//! encoder writes its decoder reads back.
//!
//! Layout: `json`, `csv`, `raw`: one module a format; `column` the builders they fill, `time` and
//! `number` values as text, `row_text` rows as Java prints them,
//! `lines` records in files of text, `options` a format's options below their prefix.

pub mod column;
pub mod csv;
mod json;
pub mod lines;
pub mod number;
mod options;
mod raw;
pub mod row_text;
pub mod time;

use std::sync::Arc;

use millrace_connector_api::Registry;

pub use column::check_type;
pub use csv::Csv;
pub use json::Json;
pub use json::debezium::DebeziumJson;
pub use raw::Raw;

/// Adds every format of this crate.
pub fn register(registry: &mut Registry) {
    registry.add_format(Arc::new(Csv));
    registry.add_format(Arc::new(DebeziumJson));
    registry.add_format(Arc::new(Json));
    registry.add_format(Arc::new(Raw));
}
