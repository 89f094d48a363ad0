//! The head of a chain that reads from outside.

use std::sync::Arc;

use millrace_connector_api::source::{SourcePoll, SourceReader};
use millrace_core::{CheckpointId, Result};

use crate::element::{Batch, Element};
use crate::metrics::TaskMetrics;
use crate::operators::now_millis;

pub struct SourceHead {
    reader: Box<dyn SourceReader>,
    metrics: Arc<TaskMetrics>,
    state: State,
    /// For tests: so many rows are still given before it holds still, once.
    hold_after: Option<u64>,
    /// As they were told last.
    splits: Option<Arc<[u32]>>,
    is_idle: bool,
}

#[derive(PartialEq)]
enum State {
    Reading,
    /// Until a checkpoint is complete.
    Held,
    /// The end has been passed on.
    Ended,
    /// A stop's barrier has been passed on: nothing is read any more.
    Stopped,
}

pub enum SourceStep {
    /// The splits that are read have changed.
    Splits(Arc<[u32]>),
    Batch(Batch),
    Pending,
    /// The source holds still from now on, for a checkpoint.
    Held,
    /// The source came to its end now.
    Ended,
}

impl SourceHead {
    /// With `hold_after`, nothing is read after the batch with which so many rows have been given, until a
    /// checkpoint is complete.
    pub fn new(reader: Box<dyn SourceReader>, metrics: Arc<TaskMetrics>, hold_after: Option<u64>) -> Self {
        SourceHead {
            reader,
            metrics,
            state: State::Reading,
            hold_after,
            splits: None,
            is_idle: false,
        }
    }

    pub fn poll(&mut self) -> Result<SourceStep> {
        if self.state != State::Reading {
            return Ok(SourceStep::Pending);
        }
        if self.hold_after == Some(0) {
            self.hold_after = None;
            self.state = State::Held;
            return Ok(SourceStep::Held);
        }
        // Splits are known before their first row, and stay until their last one is on its way.
        if let Some(splits) = self.reader.open_splits()
            && self.splits.as_deref() != Some(&splits)
        {
            let splits: Arc<[u32]> = splits.into();
            self.splits = Some(splits.clone());
            return Ok(SourceStep::Splits(splits));
        }
        let polled = self.reader.poll()?;
        self.note_idleness(!matches!(polled, SourcePoll::Batch(_)));
        match polled {
            SourcePoll::Batch(batch) => {
                let rows = batch.batch.len() as u64;
                self.metrics.source_records.add(rows);
                self.hold_after = self.hold_after.map(|left| left.saturating_sub(rows));
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

    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// What the end of a source sends on.
    pub fn end_elements() -> [Element; 2] {
        [Element::Watermark(i64::MAX), Element::EndOfInput]
    }

    pub fn snapshot(&mut self, checkpoint: CheckpointId, stop: bool) -> Result<Vec<Vec<u8>>> {
        let entries = self.reader.snapshot(checkpoint)?;
        if stop && self.state != State::Ended {
            self.state = State::Stopped;
        }
        Ok(entries)
    }

    pub fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        if self.state == State::Held {
            self.state = State::Reading;
        }
        self.reader.checkpoint_complete(checkpoint)
    }

    /// Looks at the clock only where it begins or ends.
    fn note_idleness(&mut self, is_idle: bool) {
        if is_idle != self.is_idle {
            self.is_idle = is_idle;
            if let Some(own) = self.metrics.operators.first() {
                own.idle_since.set(if is_idle { now_millis() } else { 0 });
            }
        }
    }

    pub fn update_metrics(&mut self) {
        self.metrics.skipped_records.set(self.reader.skipped_records());
        self.metrics
            .pending_records
            .set(self.reader.pending_records().map_or(-1, |n| n as i64));
        if let Some(own) = self.metrics.operators.first() {
            if let Some(bytes) = self.reader.bytes_read() {
                own.bytes_in.set(bytes);
                own.counts_bytes.set(1);
            }
            own.set_known(self.reader.metrics());
        }
    }
}
