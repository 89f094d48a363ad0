//! Changes that an upsert sink holds back, so that of several of a key only the last is written:
//! until there are so many keys, for so long, and never over a checkpoint.

use std::collections::HashMap;
use std::task::Poll;
use std::time::Instant;

use arrow::array::{ArrayRef, UInt8Array, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::sink::SinkWriter;
use millrace_connector_api::source::tokio_handle::Handle;
use millrace_connector_api::{ChangeBatch, Metric, Waker};
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{CheckpointId, Error, Result, RowKind};
use tokio::task::JoinHandle;

use crate::options::Buffering;

pub struct Buffered {
    writer: Box<dyn SinkWriter>,
    buffering: Buffering,
    key_columns: Vec<usize>,
    codec: RowCodec,
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
    kinds: Vec<u8>,
    /// By key the last row, counted over all batches.
    last: HashMap<Box<[u8]>, u32>,
    flushed: Instant,
    /// A checkpoint that begins when what is held back is written.
    begins: Option<Begins>,
    clock: JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Begins {
    checkpoint: CheckpointId,
    is_last: bool,
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

fn misfit(e: arrow::error::ArrowError) -> Error {
    Error::internal("rows that a Kafka sink holds back do not fit together").with_source(e)
}

impl Buffered {
    /// `key` are the columns of the key in rows of this schema.
    pub fn new(
        writer: Box<dyn SinkWriter>,
        buffering: Buffering,
        key: &[usize],
        schema: &SchemaRef,
        waker: Waker,
        runtime: &Handle,
    ) -> Result<Self> {
        let interval = buffering.interval;
        let clock = runtime.spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                waker.wake();
            }
        });
        Ok(Buffered {
            writer,
            buffering,
            key_columns: key.to_vec(),
            codec: RowCodec::new(key.iter().map(|c| schema.field(*c).data_type().clone()))?,
            schema: schema.clone(),
            rows: Vec::new(),
            kinds: Vec::new(),
            last: HashMap::new(),
            flushed: Instant::now(),
            begins: None,
            clock,
        })
    }

    fn is_due(&self) -> bool {
        self.last.len() >= self.buffering.rows || self.flushed.elapsed() >= self.buffering.interval
    }

    /// Writes what is held back. Only when the writer is ready.
    fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        if self.last.is_empty() {
            return Ok(());
        }
        let mut kept: Vec<u32> = self.last.drain().map(|(_, row)| row).collect();
        kept.sort_unstable();
        let all = concat_batches(&self.schema, &self.rows).map_err(misfit)?;
        let kinds = UInt8Array::from_iter_values(kept.iter().map(|row| self.kinds[*row as usize]));
        let rows = take_record_batch(&all, &UInt32Array::from(kept)).map_err(misfit)?;
        self.rows.clear();
        self.kinds.clear();
        self.writer.write(&ChangeBatch {
            rows,
            kinds: Some(kinds),
        })
    }

    /// Begins a checkpoint that waits, if the writer takes what comes before it.
    fn begin(&mut self) -> Result<bool> {
        let Some(begins) = self.begins else {
            return Ok(true);
        };
        if !self.last.is_empty() {
            if self.writer.poll_ready()?.is_pending() {
                return Ok(false);
            }
            self.flush()?;
        }
        self.begins = None;
        match begins.is_last {
            true => self.writer.begin_last_checkpoint(begins.checkpoint)?,
            false => self.writer.begin_checkpoint(begins.checkpoint)?,
        }
        Ok(true)
    }
}

impl SinkWriter for Buffered {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        if !self.begin()? {
            return Ok(Poll::Pending);
        }
        if self.writer.poll_ready()?.is_pending() {
            return Ok(Poll::Pending);
        }
        if self.is_due() {
            self.flush()?;
            return self.writer.poll_ready();
        }
        Ok(Poll::Ready(()))
    }

    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        let first = self.kinds.len() as u32;
        let columns: Vec<ArrayRef> = self
            .key_columns
            .iter()
            .map(|c| batch.rows.column(*c).clone())
            .collect();
        let mut keys = Rows::default();
        self.codec.encode(&columns, &mut keys)?;
        for (row, key) in keys.iter().enumerate() {
            // An update is a row that is there, and what it was before is one that is not.
            self.kinds.push(match batch.kind(row) {
                RowKind::Insert | RowKind::UpdateAfter => RowKind::UpdateAfter as u8,
                RowKind::UpdateBefore | RowKind::Delete => RowKind::Delete as u8,
            });
            self.last.insert(key.into(), first + row as u32);
        }
        let rows = RecordBatch::try_new(self.schema.clone(), batch.rows.columns().to_vec());
        self.rows.push(rows.map_err(misfit)?);
        // Repeated keys take memory too.
        if self.is_due() || self.kinds.len() >= 4 * self.buffering.rows.max(1 << 16) {
            self.flush()?;
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        self.writer.idle()
    }

    fn begin_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.begins = Some(Begins {
            checkpoint,
            is_last: false,
        });
        self.begin().map(drop)
    }

    fn begin_last_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.begins = Some(Begins {
            checkpoint,
            is_last: true,
        });
        self.begin().map(drop)
    }

    fn poll_checkpoint(&mut self) -> Result<Poll<Vec<u8>>> {
        match self.begin()? {
            true => self.writer.poll_checkpoint(),
            false => Ok(Poll::Pending),
        }
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.writer.checkpoint_complete(checkpoint)
    }

    fn poll_commits(&mut self) -> Result<Poll<()>> {
        self.writer.poll_commits()
    }

    fn bytes_written(&self) -> Option<u64> {
        self.writer.bytes_written()
    }

    fn metrics(&mut self) -> Vec<Metric> {
        self.writer.metrics()
    }
}
