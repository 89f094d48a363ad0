//! Benchmarks: Millrace, Apache Flink and a bare librdkafka copy loop side by side, on one broker.
//!
//! It depends on no crate of the engine: it runs the `millrace` binary as a user does, and starts
//! brokers through the testkit. It is no part of what is shipped.
//!
//! Invariants: RESULTS.md is made from saved measurements and from nothing else, and shows them as
//! they were, also when they fall short; a pass whose output is not complete fails the benchmark; a
//! round on a machine that is too busy is void, and is shown as such; names of hosts and paths stay
//! out of the results.
//!
//! Layout: `passthrough`, `latency`, `startup`, `keyed`, `kafka_keyed`, `keys` and `checkpoints` are the benchmarks, `copy` is the copy loop; `lab`
//! holds broker and folders, `flink` a cluster of Flink (`http` asks it), `job` the SQL; `topic`
//! fills and counts topics with `message`s through `client`, librdkafka's batch calls; `trace`
//! follows a run, with `usage` of its processes, `progress` a job's rows and checkpoints; `cgroup` limits memory; `stats`, `results`, `report`, `svg` and `machine`
//! make figures of it.

pub mod cgroup;
pub mod checkpoints;
pub mod client;
pub mod copy;
pub mod curves;
pub mod flink;
pub mod http;
pub mod job;
pub mod kafka_keyed;
pub mod keyed;
pub mod keys;
pub mod lab;
pub mod latency;
pub mod machine;
pub mod message;
pub mod passthrough;
pub mod progress;
pub mod report;
pub mod results;
pub mod startup;
pub mod stats;
pub mod svg;
pub mod topic;
pub mod trace;
pub mod usage;
