//! The writer without transactions. With 'at-least-once' a checkpoint waits until everything before
//! its barrier is acknowledged; with 'none' it does not wait.

use std::task::Poll;

use millrace_connector_api::ChangeBatch;
use millrace_connector_api::sink::SinkWriter;
use millrace_core::{CheckpointId, Error, Result, failpoint};

use super::encode::RecordEncoder;
use crate::writer::{Block, Writer};

pub struct AtLeastOnce {
    writer: Box<dyn Writer>,
    encoder: RecordEncoder,
    /// Whether checkpoints wait for acknowledgements.
    flushes: bool,
    block: Block,
    taken: usize,
    has_flushed: bool,
}

impl AtLeastOnce {
    pub fn new(writer: Box<dyn Writer>, encoder: RecordEncoder, flushes: bool) -> Self {
        AtLeastOnce {
            writer,
            encoder,
            flushes,
            block: Block::default(),
            taken: 0,
            has_flushed: true,
        }
    }

    fn send(&mut self) -> Result<Poll<()>> {
        while self.taken < self.block.len() {
            if self.writer.poll_ready()?.is_pending() {
                return Ok(Poll::Pending);
            }
            self.taken += self.writer.produce(&self.block, self.taken)?;
        }
        self.writer.poll_ready()
    }
}

impl SinkWriter for AtLeastOnce {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        self.send()
    }

    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.taken < self.block.len() {
            return Err(Error::internal(
                "the Kafka sink was given a batch before it was ready",
            ));
        }
        self.encoder.encode(batch, &mut self.block)?;
        self.taken = self.writer.produce(&self.block, 0)?;
        Ok(())
    }

    fn begin_checkpoint(&mut self, _checkpoint: CheckpointId) -> Result<()> {
        failpoint::pass("sink.before-flush");
        self.has_flushed = false;
        Ok(())
    }

    fn poll_checkpoint(&mut self) -> Result<Poll<Vec<u8>>> {
        if self.flushes && !self.has_flushed {
            if self.send()?.is_pending() || self.writer.poll_flush()?.is_pending() {
                return Ok(Poll::Pending);
            }
            failpoint::pass("sink.after-flush");
        }
        self.has_flushed = true;
        Ok(Poll::Ready(Vec::new()))
    }

    fn checkpoint_complete(&mut self, _checkpoint: CheckpointId) -> Result<()> {
        Ok(())
    }

    fn poll_commits(&mut self) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }
}
