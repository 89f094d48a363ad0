//! Every connector and format of the engine in one registry; the small connectors themselves.
//!
//! It may depend on `millrace-connector-api`, on what stands below it, and on the crates of the
//! larger connectors, each behind a feature of its name. Nothing but a binary depends on it.
//!
//! Layout: `datagen` rows made up, `print` rows to the process's output, `blackhole` rows to
//! nowhere; `kafka` and `filesystem` are crates of their own.

#[cfg(feature = "blackhole")]
pub mod blackhole;
#[cfg(feature = "datagen")]
pub mod datagen;
#[cfg(feature = "print")]
pub mod print;

use millrace_connector_api::Registry;

/// All connectors that this build has, and all formats.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    millrace_formats::register(&mut registry);
    #[cfg(feature = "avro")]
    millrace_avro::register(&mut registry);
    #[cfg(feature = "blackhole")]
    registry.add_connector(std::sync::Arc::new(blackhole::Blackhole));
    #[cfg(feature = "datagen")]
    registry.add_connector(std::sync::Arc::new(datagen::Datagen));
    #[cfg(feature = "print")]
    registry.add_connector(std::sync::Arc::new(print::Print));
    #[cfg(feature = "filesystem")]
    registry.add_connector(std::sync::Arc::new(
        millrace_connector_filesystem::FilesystemConnector::new(registry.clone()),
    ));
    #[cfg(feature = "kafka")]
    registry.add_connector(std::sync::Arc::new(
        millrace_connector_kafka::KafkaConnector::new(registry.clone()),
    ));
    #[cfg(feature = "kafka")]
    registry.add_connector(std::sync::Arc::new(
        millrace_connector_kafka::KafkaConnector::upsert(registry.clone()),
    ));
    registry
}
