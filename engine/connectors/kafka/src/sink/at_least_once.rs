//! The writer without transactions: a checkpoint waits until everything before its barrier is
//! acknowledged. 'none' differs in name only: waiting costs nothing, and a job's last checkpoint
//! is what sends its last records.

use std::sync::Arc;
use std::task::Poll;

use millrace_connector_api::sink::SinkWriter;
use millrace_connector_api::{ChangeBatch, Metric};
use millrace_core::{CheckpointId, Result, failpoint};

use super::encode::RecordEncoder;
use super::figures::Figures;
use super::outbox::Outbox;
use crate::writer::Writer;

pub struct AtLeastOnce {
    writer: Box<dyn Writer>,
    outbox: Outbox,
    figures: Arc<Figures>,
}

impl AtLeastOnce {
    pub fn new(writer: Box<dyn Writer>, encoder: RecordEncoder, figures: Arc<Figures>) -> Self {
        AtLeastOnce {
            writer,
            outbox: Outbox::new(encoder),
            figures,
        }
    }
}

impl SinkWriter for AtLeastOnce {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        if self.outbox.send(&mut *self.writer)?.is_pending() {
            return Ok(Poll::Pending);
        }
        self.writer.poll_ready()
    }

    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        self.outbox.push(batch)?;
        let _ = self.outbox.send(&mut *self.writer)?;
        Ok(())
    }

    fn begin_checkpoint(&mut self, _checkpoint: CheckpointId) -> Result<()> {
        failpoint::pass("sink.before-flush");
        Ok(())
    }

    fn poll_checkpoint(&mut self) -> Result<Poll<Vec<u8>>> {
        if self.outbox.send(&mut *self.writer)?.is_pending() || self.writer.poll_flush()?.is_pending() {
            return Ok(Poll::Pending);
        }
        failpoint::pass("sink.after-flush");
        Ok(Poll::Ready(Vec::new()))
    }

    fn checkpoint_complete(&mut self, _checkpoint: CheckpointId) -> Result<()> {
        Ok(())
    }

    fn poll_commits(&mut self) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }

    fn bytes_written(&self) -> Option<u64> {
        Some(self.outbox.bytes())
    }

    fn metrics(&mut self) -> Vec<Metric> {
        self.figures.metrics(None)
    }
}
