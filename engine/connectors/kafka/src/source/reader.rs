//! A subtask's reader: its splits, their state, and batches of rows.

use std::collections::{HashSet, VecDeque};

use millrace_connector_api::source::{SourceContext, SourcePoll, SourceReader};
use millrace_connector_api::{Metric, Waker};
use millrace_core::{CheckpointId, Result};
use millrace_dataflow::SourceSpec;

use super::background::{Background, Discovery};
use super::figures::Figures;
use super::partition_reader::{Block, PartitionReader, Start};
use super::rows::Rows;
use super::split::Split;
use super::{assign, offsets};
use crate::admin::{Cluster, TopicPartition};
use crate::options::{Bounded, TableOptions};

/// Blocks without a row that one poll goes through before it lets others run.
const EMPTY_BLOCKS: usize = 16;

/// Checkpoints whose completion may still come. Of more than so many in a row that failed the oldest
/// are forgotten, and with them only a commit to the group.
const SNAPSHOTS: usize = 64;

pub struct KafkaReader {
    splits: Vec<Split>,
    /// By split: its partition's end when it was last read to the end. Behind what a reader of
    /// committed records is shown there may be an open transaction, which is no lag.
    ends_reached: Vec<Option<i64>>,
    finished: Vec<bool>,
    partitions: Box<dyn PartitionReader>,
    rows: Rows,
    block: Block,
    bounded: bool,
    max_rows: usize,
    waker: Waker,
    background: Option<Background>,
    commits_offsets: bool,
    /// Offsets of checkpoints that are not complete yet.
    snapshots: VecDeque<(CheckpointId, Vec<(TopicPartition, i64)>)>,
    figures: Figures,
}

impl KafkaReader {
    pub fn open(
        spec: &SourceSpec,
        options: &TableOptions,
        context: SourceContext,
        mut partitions: Box<dyn PartitionReader>,
        cluster: Cluster,
    ) -> Result<Self> {
        let rows = Rows::new(spec, options)?;
        let mine = |topic: &str, partition: i32| {
            assign::subtask(topic, partition, context.parallelism) == context.subtask
        };
        let there: Vec<TopicPartition> = cluster
            .partitions(&options.topics)?
            .into_iter()
            .filter(|(t, p)| mine(t, *p))
            .collect();
        let splits = match &context.restored {
            None => fresh(&cluster, options, there)?,
            Some(states) => {
                let restored = states
                    .iter()
                    .map(|s| Split::decode(s))
                    .collect::<Result<Vec<_>>>()?;
                let restored = restored
                    .into_iter()
                    .filter(|s| mine(&s.topic, s.partition))
                    .collect();
                resumed(&cluster, options, restored, there)?
            }
        };
        let commits_offsets = options.properties.commits_offsets();
        let discovery = options.discovery.map(|interval| Discovery {
            topics: options.topics.clone(),
            interval,
            subtask: context.subtask,
            parallelism: context.parallelism,
            known: splits.iter().map(|s| (s.topic.clone(), s.partition)).collect(),
        });
        let background = if commits_offsets || discovery.is_some() {
            Some(Background::start(cluster, discovery, context.waker.clone())?)
        } else {
            None
        };
        let starts: Vec<Start> = splits
            .iter()
            .enumerate()
            .filter(|(_, s)| !s.is_finished())
            .map(|(i, s)| start(i, s))
            .collect();
        partitions.start(&starts)?;
        tracing::info!(
            table = %spec.table.name,
            subtask = context.subtask,
            partitions = splits.len(),
            restored = context.restored.is_some(),
            "reading from Kafka"
        );
        Ok(KafkaReader {
            ends_reached: vec![None; splits.len()],
            finished: splits.iter().map(Split::is_finished).collect(),
            splits,
            partitions,
            block: Block::new(rows.wanted()),
            rows,
            bounded: options.bounded != Bounded::Unbounded,
            max_rows: context.max_rows.max(1),
            waker: context.waker,
            background,
            commits_offsets,
            snapshots: VecDeque::new(),
            figures: Figures::default(),
        })
    }

    fn take_discovered(&mut self) -> Result<()> {
        let Some(background) = &self.background else {
            return Ok(());
        };
        while let Some(new) = background.discovered() {
            let first = self.splits.len();
            for ((topic, partition), next) in new {
                tracing::info!(topic, partition, "a new partition is read");
                self.splits.push(Split {
                    topic,
                    partition,
                    next,
                    stop: None,
                });
                self.ends_reached.push(None);
                self.finished.push(false);
            }
            let starts: Vec<Start> = self
                .splits
                .iter()
                .enumerate()
                .skip(first)
                .map(|(i, s)| start(i, s))
                .collect();
            self.partitions.start(&starts)?;
        }
        Ok(())
    }

    /// Records of a split that wait, if the broker has said where its partition ends.
    fn pending_of(&self, split: usize) -> Option<u64> {
        if self.finished[split] {
            return Some(0);
        }
        let end = self.partitions.end_offset(split as u32)?;
        if self.ends_reached[split] == Some(end) {
            return Some(0);
        }
        let own = &self.splits[split];
        let end = own.stop.map_or(end, |stop| stop.min(end));
        Some(u64::try_from(end - own.next).unwrap_or(0))
    }

    /// Moves splits to where the block ends; stops those that are read to their end.
    fn advance(&mut self) -> Result<()> {
        for &split in &self.block.at_end {
            if let Some(end) = self.ends_reached.get_mut(split as usize) {
                *end = self.partitions.end_offset(split);
            }
        }
        for &(split, next) in &self.block.positions {
            let i = split as usize;
            let Some(s) = self.splits.get_mut(i) else { continue };
            // The client may have read, and dropped, what is behind the stop: a later run that has no
            // stop, or another one, begins there.
            s.next = s.next.max(s.stop.map_or(next, |stop| next.min(stop)));
            if s.is_finished() && !self.finished[i] {
                self.finished[i] = true;
                self.partitions.stop(split)?;
            }
        }
        Ok(())
    }
}

fn start(split: usize, s: &Split) -> Start {
    Start {
        split: split as u32,
        topic: s.topic.clone(),
        partition: s.partition,
        offset: s.next,
        stop: s.stop,
    }
}

/// Splits of a first start: every offset is a number before the first record is read.
fn fresh(cluster: &Cluster, options: &TableOptions, there: Vec<TopicPartition>) -> Result<Vec<Split>> {
    let starts = offsets::starting(cluster, &options.properties, &options.startup, &there)?;
    let stops = offsets::stopping(cluster, &options.bounded, &there)?;
    Ok(there
        .into_iter()
        .zip(starts)
        .zip(stops)
        .map(|(((topic, partition), next), stop)| Split {
            topic,
            partition,
            next,
            stop,
        })
        .collect())
}

/// Splits of a restored checkpoint at their offsets, and partitions that it does not know from
/// their first record.
fn resumed(
    cluster: &Cluster,
    options: &TableOptions,
    restored: Vec<Split>,
    there: Vec<TopicPartition>,
) -> Result<Vec<Split>> {
    let mut splits = Vec::new();
    for mut split in restored {
        if !options.topics.contain(&split.topic) {
            tracing::warn!(topic = %split.topic, partition = split.partition, "the table no longer reads a topic of the checkpoint: it is left out");
            continue;
        }
        if options.bounded == Bounded::Unbounded {
            split.stop = None;
        } else if split.stop.is_none() {
            let partition = [(split.topic.clone(), split.partition)];
            split.stop = offsets::stopping(cluster, &options.bounded, &partition)?
                .into_iter()
                .next()
                .flatten();
        }
        splits.push(split);
    }
    let known: HashSet<TopicPartition> = splits.iter().map(|s| (s.topic.clone(), s.partition)).collect();
    let new: Vec<TopicPartition> = there.into_iter().filter(|p| !known.contains(p)).collect();
    let starts = cluster.earliest(&new)?;
    let stops = offsets::stopping(cluster, &options.bounded, &new)?;
    for (((topic, partition), next), stop) in new.into_iter().zip(starts).zip(stops) {
        splits.push(Split {
            topic,
            partition,
            next,
            stop,
        });
    }
    splits.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(splits)
}

impl SourceReader for KafkaReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        self.take_discovered()?;
        for _ in 0..EMPTY_BLOCKS {
            if self.bounded && self.finished.iter().all(|f| *f) {
                return Ok(SourcePoll::End);
            }
            self.block.clear();
            self.partitions.poll(self.max_rows, &mut self.block)?;
            if self.block.records() == 0 && self.block.positions.is_empty() {
                return Ok(SourcePoll::Pending);
            }
            self.figures.fetched(&self.block);
            let batch = self.rows.assemble(&self.block, &self.splits)?;
            self.figures.emitted(&self.block);
            self.advance()?;
            if let Some(batch) = batch {
                return Ok(SourcePoll::Batch(batch));
            }
        }
        self.waker.wake();
        Ok(SourcePoll::Pending)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<Vec<u8>>> {
        if self.commits_offsets {
            let offsets = self
                .splits
                .iter()
                .map(|s| ((s.topic.clone(), s.partition), s.next))
                .collect();
            if self.snapshots.len() == SNAPSHOTS {
                self.snapshots.pop_front();
            }
            self.snapshots.push_back((checkpoint, offsets));
        }
        Ok(self.splits.iter().map(Split::encode).collect())
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        let mut newest = None;
        while self.snapshots.front().is_some_and(|(id, _)| *id <= checkpoint) {
            newest = self.snapshots.pop_front();
        }
        if let (Some((id, offsets)), Some(background)) = (newest, &self.background)
            && id == checkpoint
            && !offsets.is_empty()
        {
            background.commit(offsets);
        }
        Ok(())
    }

    fn open_splits(&self) -> Option<Vec<u32>> {
        let open = (0..self.splits.len()).filter(|split| !self.finished[*split]);
        Some(open.map(|split| split as u32).collect())
    }

    fn pending_records(&self) -> Option<u64> {
        (0..self.splits.len()).map(|split| self.pending_of(split)).sum()
    }

    fn bytes_read(&self) -> Option<u64> {
        Some(self.figures.bytes())
    }

    fn metrics(&mut self) -> Vec<Metric> {
        let pending = (0..self.splits.len()).filter_map(|split| self.pending_of(split));
        let lag = pending.max().unwrap_or(0);
        let background = self.background.as_ref().filter(|_| self.commits_offsets);
        self.figures
            .metrics(&self.splits, lag, background.map(Background::commits))
    }

    fn skipped_records(&self) -> u64 {
        self.rows.skipped
    }
}
