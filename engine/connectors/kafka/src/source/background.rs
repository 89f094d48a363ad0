//! The source's second thread: looks for new partitions, commits offsets to the group. It asks
//! and waits, so that the subtask's thread never does.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use millrace_connector_api::Waker;
use millrace_core::{Error, Result};

use super::assign;
use crate::admin::{Cluster, TopicPartition};
use crate::topics::Topics;

/// How often the client is served at least.
const SERVE: Duration = Duration::from_secs(1);

pub struct Discovery {
    pub topics: Topics,
    pub interval: Duration,
    pub subtask: usize,
    pub parallelism: usize,
    /// Partitions of this subtask that are read already.
    pub known: HashSet<TopicPartition>,
}

/// The thread's handle; dropping it ends the thread soon, without waiting.
pub struct Background {
    commits: Sender<Vec<(TopicPartition, i64)>>,
    found: Receiver<Vec<(TopicPartition, i64)>>,
}

impl Background {
    pub fn start(cluster: Cluster, discovery: Option<Discovery>, waker: Waker) -> Result<Self> {
        let (commits, requests) = channel();
        let (sender, found) = channel();
        std::thread::Builder::new()
            .name("kafka-source".to_owned())
            .spawn(move || run(&cluster, discovery, &requests, &sender, &waker))
            .map_err(|e| Error::external("cannot start a thread").with_source(e))?;
        Ok(Background { commits, found })
    }

    /// Commits offsets, some time.
    pub fn commit(&self, offsets: Vec<(TopicPartition, i64)>) {
        // It fails only when the thread is gone, and commits are best effort.
        let _ = self.commits.send(offsets);
    }

    /// New partitions of this subtask with their first offsets.
    pub fn discovered(&self) -> Option<Vec<(TopicPartition, i64)>> {
        self.found.try_recv().ok()
    }
}

fn run(
    cluster: &Cluster,
    mut discovery: Option<Discovery>,
    commits: &Receiver<Vec<(TopicPartition, i64)>>,
    found: &Sender<Vec<(TopicPartition, i64)>>,
    waker: &Waker,
) {
    let mut looked = Instant::now();
    loop {
        let until_look = discovery
            .as_ref()
            .map_or(SERVE, |d| d.interval.saturating_sub(looked.elapsed()));
        match commits.recv_timeout(until_look.min(SERVE)) {
            Ok(mut offsets) => {
                // Only the newest counts.
                while let Ok(newer) = commits.try_recv() {
                    offsets = newer;
                }
                if let Err(error) = cluster.commit(&offsets) {
                    tracing::warn!(%error, "offsets are not committed to the group");
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        cluster.serve();
        if let Some(discovery) = &mut discovery
            && looked.elapsed() >= discovery.interval
        {
            looked = Instant::now();
            match discovery.look(cluster) {
                Ok(new) if new.is_empty() => {}
                Ok(new) => {
                    if found.send(new).is_err() {
                        return;
                    }
                    waker.wake();
                }
                Err(error) => tracing::warn!(%error, "looking for new partitions failed, trying again later"),
            }
        }
    }
}

impl Discovery {
    /// Partitions that are new since the last look; they are read from their first record, as
    /// Flink does: what came before they were seen is not lost.
    fn look(&mut self, cluster: &Cluster) -> Result<Vec<(TopicPartition, i64)>> {
        let new: Vec<TopicPartition> = cluster
            .partitions(&self.topics)?
            .into_iter()
            .filter(|p| {
                assign::subtask(&p.0, p.1, self.parallelism) == self.subtask && !self.known.contains(p)
            })
            .collect();
        let offsets = cluster.earliest(&new)?;
        self.known.extend(new.iter().cloned());
        Ok(new.into_iter().zip(offsets).collect())
    }
}
