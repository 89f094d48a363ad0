//! The clients that the connector is made of, and the seam through which others may take their place: all that talks to
//! brokers, but for what `millrace-kafka-wire` asks them itself.

use std::sync::Arc;
use std::time::Duration;

use millrace_connector_api::Waker;
use millrace_core::Result;

use crate::admin::{Cluster, Questions};
use crate::options::Startup;
use crate::properties::Properties;
use crate::sink::librdkafka::{self, LibrdkafkaProducer};
use crate::sink::options::ClientProperties;
use crate::source::librdkafka::LibrdkafkaReader;
use crate::source::partition_reader::PartitionReader;
use crate::writer::{Producer, ProducerSettings};

pub trait Clients: Send + Sync {
    /// Connects when there is something to read.
    fn reader(
        &self,
        properties: &Properties,
        startup: &Startup,
        waker: Waker,
    ) -> Result<Box<dyn PartitionReader>>;

    /// Asks and commits as the table's group, if it has one. Its calls block for `limit` at most.
    fn cluster(&self, properties: &Properties, limit: Duration) -> Result<Box<dyn Questions>>;

    /// The same, without a group.
    fn cluster_without_group(&self, properties: &Properties, limit: Duration) -> Result<Box<dyn Questions>>;

    fn producer(&self, settings: &ProducerSettings, waker: Waker) -> Result<Arc<dyn Producer>>;

    /// Whether a producer can be made of these properties. Talks to nobody.
    fn check_producer(
        &self,
        properties: &ClientProperties,
        topic: &str,
        transaction_timeout: Option<Duration>,
    ) -> Result<()>;
}

/// What the product uses.
pub struct Librdkafka;

impl Clients for Librdkafka {
    fn reader(
        &self,
        properties: &Properties,
        startup: &Startup,
        waker: Waker,
    ) -> Result<Box<dyn PartitionReader>> {
        Ok(Box::new(LibrdkafkaReader::open(properties, startup, waker)?))
    }

    fn cluster(&self, properties: &Properties, limit: Duration) -> Result<Box<dyn Questions>> {
        Ok(Box::new(Cluster::connect(properties, limit)?))
    }

    fn cluster_without_group(&self, properties: &Properties, limit: Duration) -> Result<Box<dyn Questions>> {
        Ok(Box::new(Cluster::without_group(properties, limit)?))
    }

    fn producer(&self, settings: &ProducerSettings, waker: Waker) -> Result<Arc<dyn Producer>> {
        Ok(Arc::new(LibrdkafkaProducer::open(settings, waker)?))
    }

    fn check_producer(
        &self,
        properties: &ClientProperties,
        topic: &str,
        transaction_timeout: Option<Duration>,
    ) -> Result<()> {
        librdkafka::check(properties, topic, transaction_timeout)
    }
}
