//! Flink's REST API over a cluster: the server, and the dashboard's files.

mod answer;
mod dashboard;
mod java;
mod listen;
pub mod metrics;
mod model;
mod operations;
mod parameters;
mod secrets;
mod statistics;
mod uploads;
mod view;
