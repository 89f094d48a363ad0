//! Where a scenario takes place.

use std::sync::atomic::{AtomicU32, Ordering};

use millrace_core::Configuration;
use millrace_testkit::link::Link;

/// A store of HA data.
pub trait Site: Sync {
    /// The configuration of a cluster's process, which reaches the store over these links, or directly.
    fn config(&self, cluster: &str, links: &[Link]) -> Configuration;

    /// One to each server of the store.
    fn links(&self) -> Vec<Link>;

    /// All that a cluster has in the store, by name: what a person would see who looks.
    fn contents(&self, cluster: &str) -> Vec<String>;

    /// Deletes all of it.
    fn delete(&self, cluster: &str);
}

/// A cluster id of its own for each test.
pub fn cluster(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn configuration(pairs: &[(&str, &str)]) -> Configuration {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
