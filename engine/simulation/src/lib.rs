//! A cluster of which every step follows from a seed: several JobManagers that contend for the lead, TaskManagers, a
//! Kafka cluster and an object store, on machines whose clocks differ and between which anything may go wrong.
//!
//! What is simulated is the product: JobMaster, checkpoint coordinator, control RPC, data exchange, subtasks, operators,
//! keyed state in RocksDB, the Kafka connector's sink and source, the client of the object store. Models stand for what
//! is outside: the operating system's threads, clocks and sockets (`kernel`), Kafka (`kafka`), the object store (`store`),
//! the election of leaders (`election`); and `client` takes librdkafka's place.
//!
//! Nothing depends on it, and it may depend on everything.
//!
//! Layout: `world` one simulation, `faults` what goes wrong and when, `processes` JobManagers and TaskManagers, `job` what
//! they run and what has to come out, `logging` what they say, `runs` many seeds, each in a process of its own.

pub mod client;
pub mod election;
pub mod faults;
pub mod job;
pub mod kafka;
pub mod kernel;
pub mod logging;
pub mod processes;
pub mod runs;
pub mod store;
pub mod world;
