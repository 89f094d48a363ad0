//! Record formats: `json`, `csv` and `raw`, with Flink's options and semantics.
//!
//! It may depend on `millrace-connector-api` and what stands below it; it does no I/O.
//!
//! Invariants: a decoder goes over a payload once and appends straight to Arrow buffers, a payload
//! that is refused leaves no trace in them; no bytes, however broken, make a decoder panic; what an
//! encoder writes its decoder reads back.
//!
//! Layout: `json`, one module a format; `column` the builders they fill, `time` and
//! `number` values as text, `options` a format's options below their prefix.

pub mod column;
mod json;
pub mod number;
mod options;
pub mod time;

use std::sync::Arc;

use millrace_connector_api::Registry;

pub use column::check_type;
pub use json::Json;

/// Adds every format of this crate.
pub fn register(registry: &mut Registry) {
    registry.add_format(Arc::new(Json));
}
