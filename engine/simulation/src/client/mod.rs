//! A Kafka client in place of librdkafka: the connector's own code stands on it in the simulation, and the tests that
//! compare the model with a real broker talk through it.
//!
//! It is a client of transactions of version 1, as librdkafka is on every broker: it adds partitions to a transaction
//! before it writes to them, repeats what was not answered under the same sequence numbers, and gives up where a broker
//! says that somebody else has its id.
//!
//! Layout: `link` connections, `producer`, `reader`, `questions` what is asked of a cluster, `clients` all of it for the
//! connector.

pub mod clients;
pub mod link;
mod producer;
mod questions;
mod reader;

pub use link::{Failed, Links};
pub use reader::shown;
