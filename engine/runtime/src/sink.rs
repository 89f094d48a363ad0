//! The end of a chain that writes outside.

use std::sync::Arc;
use std::task::Poll;

use millrace_connector_api::sink::SinkWriter;
use millrace_core::{CheckpointId, Result};

use crate::element::{Barrier, Element};
use crate::metrics::{OperatorMetrics, TaskMetrics};

pub struct SinkEnd {
    writer: Box<dyn SinkWriter>,
    metrics: Arc<TaskMetrics>,
    /// A checkpoint that was begun and whose state the writer has not given yet.
    snapshotting: Option<CheckpointId>,
    /// Completed, and not yet visible as a whole.
    committing: bool,
    wrote: bool,
}

impl SinkEnd {
    pub fn new(writer: Box<dyn SinkWriter>, metrics: Arc<TaskMetrics>) -> Self {
        SinkEnd {
            writer,
            metrics,
            snapshotting: None,
            committing: false,
            wrote: false,
        }
    }

    pub fn is_ready(&mut self) -> Result<bool> {
        Ok(self.writer.poll_ready()?.is_ready())
    }

    pub fn push(&mut self, element: &Element) -> Result<()> {
        match element {
            Element::Batch(batch) if !batch.change.is_empty() => {
                self.metrics.sink_records.add(batch.change.len() as u64);
                self.writer.write(&batch.change)?;
                self.wrote = true;
            }
            Element::Watermark(millis) => self.writer.watermark(*millis),
            _ => {}
        }
        Ok(())
    }

    pub fn update_metrics(&mut self, own: &OperatorMetrics) {
        if let Some(bytes) = self.writer.bytes_written() {
            own.bytes_out.set(bytes);
            own.counts_bytes.set(1);
        }
        own.set_known(self.writer.metrics());
    }

    /// Tells the writer, once, that its input is idle.
    pub fn idle(&mut self) -> Result<()> {
        match std::mem::take(&mut self.wrote) {
            true => self.writer.idle(),
            false => Ok(()),
        }
    }

    pub fn begin_checkpoint(&mut self, barrier: Barrier) -> Result<()> {
        self.snapshotting = Some(barrier.checkpoint);
        if barrier.stop {
            self.writer.begin_last_checkpoint(barrier.checkpoint)
        } else {
            self.writer.begin_checkpoint(barrier.checkpoint)
        }
    }

    /// The state for `checkpoint`, when the writer has it.
    pub fn poll_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>> {
        if self.snapshotting != Some(checkpoint) {
            return Ok(None);
        }
        match self.writer.poll_checkpoint()? {
            Poll::Pending => Ok(None),
            Poll::Ready(state) => {
                self.snapshotting = None;
                Ok(Some(state))
            }
        }
    }

    pub fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.committing = true;
        self.writer.checkpoint_complete(checkpoint)
    }

    /// Whether everything that was completed is visible.
    pub fn poll_commits(&mut self) -> Result<bool> {
        if self.committing && self.writer.poll_commits()?.is_ready() {
            self.committing = false;
        }
        Ok(!self.committing)
    }
}
