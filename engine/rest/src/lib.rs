//! Flink's REST API over a cluster: the server, and the dashboard's files.
//!
//! It may depend on the cluster and what is below it, and on the bodies in `millrace-rest-types`. It links no SQL: how a
//! job is made of a text is the binary's (`Planner`), and what has been counted comes from a `MetricSource`.
//!
//! Invariants:
//! - Every path is answered bare and under /v1, with the fields, statuses and words of Apache Flink 2.1.
//! - A request never blocks the runtime: what blocks runs beside it.
//! - No secret is shown: options are known by their keys (`millrace_core::sensitive`).
//! - What a path or an upload names stays in its folder.
//!
//! Layout: `server` and `listen`, `routes` which function answers what, `handlers` those functions by subject, `state`
//! what they share; `known` and `model` from what the cluster knows to the job that pages show, `view` bodies made of
//! it, `statistics` figures of many values; `operations` what is triggered and asked for later, `uploads` and `programs`
//! what is run, `leader` who answers, `dashboard` files, `figures` where values of metrics come from, `metrics` what Prometheus
//! reads, `java` exceptions for clients in Java, `answer` and `parameters` both ends of a request.

mod answer;
mod dashboard;
pub mod figures;
mod handlers;
mod java;
mod known;
mod leader;
mod listen;
pub mod metrics;
mod model;
mod operations;
mod parameters;
mod programs;
mod routes;
mod server;
mod state;
mod statistics;
mod uploads;
mod view;

pub use figures::MetricSource;
pub use server::RestServer;
pub use state::{Parts, Planner};
