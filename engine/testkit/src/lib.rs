//! Real servers for tests and for the demo: Kafka brokers (one or several, plain or SASL_SSL),
//! an S3 server, a schema registry, a ZooKeeper quorum, Kubernetes' API server, and an independent reader that checks what an engine wrote.
//!
//! It may depend on no other crate of the workspace: what checks the engine shares no code with
//! it. Its Kafka client is librdkafka and the Java tools of the broker.
//!
//! Invariants: every server listens on 127.0.0.1 only, on ports of its own, with a folder of its
//! own, and dies with the process that started it, however that ends. Nothing waits for a time:
//! a server is ready when it answers, and every wait has a limit that names what it waited for.
//!
//! Layout: `cache` where set-up put the servers, `process` children that die with us, `scratch`
//! folders that go away, `files` what paths stand for, exchanged at once, `signals` Ctrl-C as a flag, `ports` free ports, `link` connections that can be cut, `wait` waiting for a condition, `kafka` brokers,
//! `s3` the S3 server, `registry` a schema registry, `zookeeper` a quorum, `kubernetes` an API server, `engine` the millrace binary, `flink` a cluster of Apache Flink and its command line, `records` writing and reading records independently of the engine.
//!
//! In a test:
//!
//! ```no_run
//! use millrace_testkit::kafka::{Kafka, Version};
//! let kafka = Kafka::shared(Version::Kafka39); // one for all tests of this process
//! let topic = kafka.unique_topic("orders", 4);
//! let bootstrap = kafka.bootstrap();
//! ```
//!
//! A broker by hand, which runs until Ctrl-C (servers come from `scripts/setup broker broker-4`):
//!
//! ```text
//! cargo run --release -p millrace-testkit -- kafka --port 9092
//! cargo run --release -p millrace-testkit -- kafka --port 9092 --dir /tmp/k --kafka-version 4.1 --topic in:4 --topic out:4
//! ```

pub mod cache;
pub mod engine;
pub mod files;
pub mod flink;
pub mod kafka;
pub mod kubernetes;
pub mod link;
pub mod ports;
pub mod process;
pub mod records;
pub mod registry;
pub mod s3;
pub mod scratch;
pub mod signals;
pub mod wait;
pub mod zookeeper;
