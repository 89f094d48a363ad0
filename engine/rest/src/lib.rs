//! Flink's REST API over a cluster: the server, and the dashboard's files.

pub mod metrics;
