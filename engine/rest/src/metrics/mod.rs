//! Metrics for Prometheus: what Flink's PrometheusReporter gives, on a port of its own.
//!
//! Layout: `options` how it is configured, `exposition` metrics as text, `server` who serves it.

mod exposition;
mod options;
mod server;

pub use exposition::text;
pub use options::{Labels, Reporter};
pub use server::{Server, Source, serve};
