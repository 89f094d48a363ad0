//! The source's second thread: looks for new partitions, commits offsets to the group. It asks
//! and waits, so that the subtask's thread never does.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millrace_connector_api::Waker;
use millrace_core::{Error, Result};

use super::assign;
use crate::admin::{Cluster, TopicPartition};
use crate::topics::Topics;

/// How often the client is served at least.
const SERVE: Duration = Duration::from_secs(1);
/// How long the client is then served.
const SERVING: Duration = Duration::from_millis(10);

pub struct Discovery {
    pub topics: Topics,
    pub interval: Duration,
    pub subtask: usize,
    pub parallelism: usize,
    /// Partitions of this subtask that are read already.
    pub known: HashSet<TopicPartition>,
}

/// The thread's handle. Dropping it ends the thread; only a commit on its way is waited for, and
/// only for a moment.
pub struct Background {
    /// Taken at the end.
    commits: Option<Sender<Offsets>>,
    found: Receiver<Offsets>,
    /// Commits that are asked for and not done.
    outstanding: Arc<AtomicUsize>,
    commits_done: Arc<Commits>,
    /// Nothing is sent: it closes when the thread ends.
    ended: Receiver<()>,
}

type Offsets = Vec<(TopicPartition, i64)>;

/// What has become of commits.
#[derive(Debug, Default)]
pub struct Commits {
    pub succeeded: AtomicU64,
    pub failed: AtomicU64,
    /// As they were committed last.
    offsets: Mutex<HashMap<TopicPartition, i64>>,
}

impl Commits {
    fn succeed(&self, offsets: Offsets) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        let mut committed = self.offsets.lock().unwrap_or_else(|e| e.into_inner());
        committed.extend(offsets);
    }

    /// The committed offset of a partition, if one was committed since the start.
    pub fn offset(&self, topic: &str, partition: i32) -> Option<i64> {
        let committed = self.offsets.lock().unwrap_or_else(|e| e.into_inner());
        committed.get(&(topic.to_owned(), partition)).copied()
    }
}

/// How long the last commit is waited for.
const LAST_COMMIT: Duration = Duration::from_secs(1);

impl Background {
    pub fn start(cluster: Cluster, discovery: Option<Discovery>, waker: Waker) -> Result<Self> {
        let (commits, requests) = channel();
        let (sender, found) = channel();
        let (end, ended) = channel();
        let outstanding = Arc::new(AtomicUsize::new(0));
        let commits_done = Arc::new(Commits::default());
        let thread = Thread {
            cluster,
            discovery,
            requests,
            found: sender,
            outstanding: outstanding.clone(),
            commits_done: commits_done.clone(),
            waker,
        };
        std::thread::Builder::new()
            .name("kafka-source".to_owned())
            .spawn(move || {
                thread.run();
                drop(end);
            })
            .map_err(|e| Error::external("cannot start a thread").with_source(e))?;
        Ok(Background {
            commits: Some(commits),
            found,
            outstanding,
            commits_done,
            ended,
        })
    }

    /// Commits offsets, some time.
    pub fn commit(&self, offsets: Offsets) {
        if let Some(commits) = &self.commits {
            self.outstanding.fetch_add(1, Ordering::SeqCst);
            // It fails only when the thread is gone, and commits are best effort.
            let _ = commits.send(offsets);
        }
    }

    pub fn commits(&self) -> &Commits {
        &self.commits_done
    }

    /// New partitions of this subtask with their first offsets.
    pub fn discovered(&self) -> Option<Offsets> {
        self.found.try_recv().ok()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.commits = None;
        if self.outstanding.load(Ordering::SeqCst) > 0 {
            let _ = self.ended.recv_timeout(LAST_COMMIT);
        }
    }
}

struct Thread {
    cluster: Cluster,
    discovery: Option<Discovery>,
    requests: Receiver<Offsets>,
    found: Sender<Offsets>,
    outstanding: Arc<AtomicUsize>,
    commits_done: Arc<Commits>,
    waker: Waker,
}

impl Thread {
    fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            let until_look = self
                .discovery
                .as_ref()
                .map_or(SERVE, |d| d.interval.saturating_sub(looked.elapsed()));
            match self.requests.recv_timeout(until_look.min(SERVE)) {
                Ok(offsets) => self.commit(offsets),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.cluster.serve(SERVING);
            if let Some(discovery) = &mut self.discovery
                && looked.elapsed() >= discovery.interval
            {
                looked = Instant::now();
                match discovery.look(&self.cluster) {
                    Ok(new) if new.is_empty() => {}
                    Ok(new) => {
                        if self.found.send(new).is_err() {
                            return;
                        }
                        self.waker.wake();
                    }
                    Err(error) => {
                        tracing::warn!(%error, "looking for new partitions failed, trying again later")
                    }
                }
            }
        }
    }

    fn commit(&self, mut offsets: Offsets) {
        let mut taken = 1;
        // Only the newest counts.
        while let Ok(newer) = self.requests.try_recv() {
            offsets = newer;
            taken += 1;
        }
        match self.cluster.commit(&offsets) {
            Ok(()) => self.commits_done.succeed(offsets),
            Err(error) => {
                self.commits_done.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "offsets are not committed to the group");
            }
        }
        self.outstanding.fetch_sub(taken, Ordering::SeqCst);
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
