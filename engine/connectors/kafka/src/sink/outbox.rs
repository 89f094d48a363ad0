//! Encoded records on their way to a client that may be full.

use std::collections::VecDeque;
use std::task::Poll;

use millrace_connector_api::ChangeBatch;
use millrace_core::Result;

use super::encode::RecordEncoder;
use crate::writer::{Block, Writer};

pub struct Outbox {
    encoder: RecordEncoder,
    /// Of the first one `taken` records are with the client; none is empty.
    blocks: VecDeque<Block>,
    taken: usize,
    /// A sent block, kept for its memory.
    spare: Block,
    /// Of keys and values, of all blocks so far.
    bytes: u64,
}

impl Outbox {
    pub fn new(encoder: RecordEncoder) -> Self {
        Outbox {
            encoder,
            blocks: VecDeque::new(),
            taken: 0,
            spare: Block::default(),
            bytes: 0,
        }
    }

    pub fn push(&mut self, batch: &ChangeBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.spare);
        self.encoder.encode(batch, &mut block)?;
        self.bytes += block.bytes() as u64;
        self.blocks.push_back(block);
        Ok(())
    }

    /// Bytes of records that were encoded.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hands records over as far as there is room; `Ready` when none is left.
    pub fn send(&mut self, writer: &mut (impl Writer + ?Sized)) -> Result<Poll<()>> {
        while let Some(block) = self.blocks.front() {
            if writer.poll_ready()?.is_pending() {
                return Ok(Poll::Pending);
            }
            self.taken += writer.produce(block, self.taken)?;
            if self.taken == block.len() {
                self.taken = 0;
                self.spare = self.blocks.pop_front().unwrap_or_default();
            }
        }
        Ok(Poll::Ready(()))
    }
}
