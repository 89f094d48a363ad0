//! The head of a chain that reads from outside.

use std::sync::Arc;

use millrace_connector_api::source::{SourcePoll, SourceReader};
use millrace_core::{CheckpointId, Result};

use crate::element::{Batch, Element};
use crate::metrics::TaskMetrics;

pub struct SourceHead {
    reader: Box<dyn SourceReader>,
    metrics: Arc<TaskMetrics>,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Reading,
    /// The end has been passed on.
    Ended,
    /// A stop's barrier has been passed on: nothing is read any more.
    Stopped,
}

pub enum SourceStep {
    Batch(Batch),
    Pending,
    /// The source came to its end now.
    Ended,
}

impl SourceHead {
    pub fn new(reader: Box<dyn SourceReader>, metrics: Arc<TaskMetrics>) -> Self {
        SourceHead {
            reader,
            metrics,
            state: State::Reading,
        }
    }

    pub fn poll(&mut self) -> Result<SourceStep> {
        if self.state != State::Reading {
            return Ok(SourceStep::Pending);
        }
        match self.reader.poll()? {
            SourcePoll::Batch(batch) => {
                self.metrics.source_records.add(batch.batch.len() as u64);
                Ok(SourceStep::Batch(Batch {
                    change: batch.batch,
                    splits: Some(batch.splits.into()),
                    watermarks: None,
                }))
            }
            SourcePoll::Pending => Ok(SourceStep::Pending),
            SourcePoll::End => {
                self.state = State::Ended;
                Ok(SourceStep::Ended)
            }
        }
    }

    /// What the end of a source sends on.
    pub fn end_elements() -> [Element; 2] {
        [Element::Watermark(i64::MAX), Element::EndOfInput]
    }

    pub fn snapshot(&mut self, checkpoint: CheckpointId, stop: bool) -> Result<Vec<Vec<u8>>> {
        let entries = self.reader.snapshot(checkpoint)?;
        if stop && self.state == State::Reading {
            self.state = State::Stopped;
        }
        Ok(entries)
    }

    pub fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.reader.checkpoint_complete(checkpoint)
    }

    pub fn update_metrics(&self) {
        self.metrics.skipped_records.set(self.reader.skipped_records());
        self.metrics
            .pending_records
            .set(self.reader.pending_records().map_or(-1, |n| n as i64));
    }
}
