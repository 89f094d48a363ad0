//! All clients of the connector.

use std::sync::Arc;
use std::time::Duration;

use millrace_connector_api::Waker;
use millrace_connector_kafka::admin::Questions;
use millrace_connector_kafka::clients::Clients;
use millrace_connector_kafka::options::Startup;
use millrace_connector_kafka::properties::Properties;
use millrace_connector_kafka::sink::options::ClientProperties;
use millrace_connector_kafka::source::partition_reader::PartitionReader;
use millrace_connector_kafka::writer::{Producer, ProducerSettings};
use millrace_core::{Error, Result};

use super::producer::Sender;
use super::questions::Asker;
use super::reader::Reader;

pub struct ModelClients;

impl Clients for ModelClients {
    fn reader(&self, properties: &Properties, _: &Startup, waker: Waker) -> Result<Box<dyn PartitionReader>> {
        let is_committed = properties.get("isolation.level") == Some("read_committed");
        Ok(Box::new(Reader::open(
            properties.bootstrap(),
            is_committed,
            waker,
        )?))
    }

    fn cluster(&self, properties: &Properties, limit: Duration) -> Result<Box<dyn Questions>> {
        Ok(Box::new(Asker::new(properties.bootstrap(), limit)))
    }

    fn cluster_without_group(&self, properties: &Properties, limit: Duration) -> Result<Box<dyn Questions>> {
        self.cluster(properties, limit)
    }

    fn producer(&self, settings: &ProducerSettings, waker: Waker) -> Result<Arc<dyn Producer>> {
        let bootstrap = settings
            .properties
            .iter()
            .find(|(key, _)| key == "bootstrap.servers" || key == "metadata.broker.list")
            .ok_or_else(|| Error::internal("a producer without brokers"))?;
        Ok(Arc::new(Sender::open(settings, &bootstrap.1, waker)?))
    }

    fn check_producer(&self, _: &ClientProperties, _: &str, _: Option<Duration>) -> Result<()> {
        Ok(())
    }
}
