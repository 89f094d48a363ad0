//! A model of Kafka: brokers that speak its protocol over the simulated network, with idempotent and transactional
//! producers, coordinators that move, and readers of committed records.
//!
//! It answers as Apache Kafka does to clients of transactions of version 1 (`tests/it/conformance.rs` compares the two
//! over random sequences of requests).
//!
//! Layout: `batch` record batches, `partition` a log and who may append to it, `coordinator` a transactional id,
//! `cluster` all of it and what brokers answer, `wire` the protocol's bytes, `broker` the processes.

pub mod batch;
pub mod broker;
pub mod cluster;
pub mod coordinator;
pub mod partition;
pub mod wire;
