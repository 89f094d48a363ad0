//! The settings of Apache Flink that are tried; the fastest is what Millrace is held against.

use anyhow::{Context, Result};

/// One set of settings, on top of object reuse and a heap that has the managed memory too.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub name: &'static str,
    /// Options of the TaskManager's JVM.
    pub jvm: &'static [&'static str],
    /// Lines of the cluster's config.yaml.
    pub cluster: &'static [(&'static str, &'static str)],
    /// Sizes that take the place of those of a cluster without state.
    pub memory: &'static [(&'static str, &'static str)],
    /// Options of the source table.
    pub source: &'static [(&'static str, &'static str)],
    /// Options of the sink table.
    pub sink: &'static [(&'static str, &'static str)],
}

const LARGE_READS: &[(&str, &str)] = &[
    // A fetch hands over this many records at once, 500 by default.
    ("properties.max.poll.records", "10000"),
    ("properties.max.partition.fetch.bytes", "8388608"),
    ("properties.receive.buffer.bytes", "1048576"),
];
const LARGE_WRITES: &[(&str, &str)] = &[
    ("properties.linger.ms", "20"),
    ("properties.batch.size", "1048576"),
    ("properties.buffer.memory", "67108864"),
    ("properties.send.buffer.bytes", "1048576"),
];

pub const ALL: &[Settings] = &[
    Settings {
        name: "defaults",
        jvm: &[],
        cluster: &[],
        memory: &[],
        source: &[],
        sink: &[],
    },
    Settings {
        name: "large-batches",
        jvm: &[],
        cluster: &[],
        memory: &[],
        source: LARGE_READS,
        sink: LARGE_WRITES,
    },
    Settings {
        name: "large-batches-parallel-gc",
        jvm: &["-XX:+UseParallelGC"],
        cluster: &[],
        memory: &[],
        source: LARGE_READS,
        sink: LARGE_WRITES,
    },
];

impl Settings {
    pub const DEFAULTS: &'static Settings = &ALL[0];

    /// For keyed state on RocksDB: Flink's default of managed memory beside the larger heap, objects
    /// reused.
    pub const STATEFUL: &'static Settings = &Settings {
        name: "stateful",
        jvm: &[],
        cluster: &[],
        memory: &[("taskmanager.memory.managed.size", "512m")],
        source: &[],
        sink: &[],
    };

    /// The same from Kafka to Kafka.
    pub const STATEFUL_KAFKA: &'static Settings = &Settings {
        name: "stateful-large-batches-parallel-gc",
        jvm: &["-XX:+UseParallelGC"],
        source: LARGE_READS,
        sink: LARGE_WRITES,
        ..*Settings::STATEFUL
    };

    /// In a container, with sizes of its own (`Confined`).
    pub const CONFINED: &'static Settings = &Settings {
        name: "confined",
        memory: &[],
        ..*Settings::STATEFUL
    };

    pub fn named(name: &str) -> Result<&'static Settings> {
        ALL.iter()
            .find(|settings| settings.name == name)
            .with_context(|| {
                let names: Vec<&str> = ALL.iter().map(|settings| settings.name).collect();
                format!(
                    "there are no settings '{name}' of Flink: use one of {}",
                    names.join(", ")
                )
            })
    }

    pub fn source_options(&self) -> Vec<(String, String)> {
        owned(self.source)
    }

    pub fn sink_options(&self) -> Vec<(String, String)> {
        owned(self.sink)
    }

    /// All of it as `key=value`, for the record.
    pub fn describe(&self) -> Vec<String> {
        let pairs = self.cluster.iter().chain(self.source).chain(self.sink);
        let jvm = self.jvm.iter().map(|option| (*option).to_owned());
        jvm.chain(pairs.map(|(key, value)| format!("{key}={value}")))
            .collect()
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
