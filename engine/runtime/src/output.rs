//! Who reads an operator's output: operators of the same chain, and other subtasks.

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;
use millrace_core::{Result, key_group};
use millrace_dataflow::Partitioning;

use crate::channel::{Probe, Sender};
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::operators::kernel;
use crate::wire::Wire;

/// One edge out of a subtask: a channel to each subtask of the reading vertex that it feeds.
pub struct RemoteOutput {
    channels: Vec<Sender>,
    routing: Routing,
    /// For tests: elements go through their bytes.
    wire: Option<Wire>,
}

enum Routing {
    /// Everything to every channel; there is one.
    Forward,
    /// Batch by batch; the next channel.
    Rebalance(usize),
    /// Row by row, by the key's group.
    Hash(Keys, u16),
}

impl RemoteOutput {
    /// `Forward` has one channel, the others one to each reading subtask. `start` spreads the first
    /// batches of several writers; `max_parallelism` is the reader's.
    pub fn new(
        channels: Vec<Sender>,
        partitioning: &Partitioning,
        start: usize,
        schema: &SchemaRef,
        max_parallelism: u16,
    ) -> Result<Self> {
        let routing = match partitioning {
            Partitioning::Forward => Routing::Forward,
            Partitioning::Rebalance => Routing::Rebalance(start % channels.len().max(1)),
            Partitioning::Hash { keys } => Routing::Hash(Keys::new(keys, schema)?, max_parallelism),
        };
        Ok(RemoteOutput {
            channels,
            routing,
            wire: None,
        })
    }

    /// The same, with all that is sent encoded and decoded on its way.
    pub fn through_wire(self, schema: SchemaRef) -> Self {
        RemoteOutput {
            wire: Some(Wire::new(schema)),
            ..self
        }
    }

    pub fn probes(&self) -> Vec<Probe> {
        self.channels.iter().map(Sender::probe).collect()
    }

    pub fn has_room(&self) -> bool {
        self.channels.iter().all(Sender::has_room)
    }

    pub fn send(&mut self, element: &Element) -> Result<()> {
        let readers = self.channels.len();
        let carried = |element: Element| match &self.wire {
            None => Ok(element),
            Some(wire) => wire.decode(&wire.encode(&element)?),
        };
        match (element, &mut self.routing) {
            (Element::Splits(_), Routing::Rebalance(_) | Routing::Hash(..)) => {}
            (Element::Batch(_), Routing::Rebalance(next)) => {
                self.channels[*next].send(carried(element.clone())?)?;
                *next = (*next + 1) % readers;
            }
            (Element::Batch(batch), Routing::Hash(keys, max_parallelism)) if readers > 1 => {
                for (channel, rows) in divide(keys, batch, readers, *max_parallelism)? {
                    self.channels[channel].send(carried(Element::Batch(rows))?)?;
                }
            }
            _ => {
                for channel in &self.channels {
                    channel.send(carried(element.clone())?)?;
                }
            }
        }
        Ok(())
    }
}

/// The rows of a batch by the subtask that their keys belong to, in order.
fn divide(
    keys: &mut Keys,
    batch: &Batch,
    readers: usize,
    max_parallelism: u16,
) -> Result<Vec<(usize, Batch)>> {
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); readers];
    keys.encode(&batch.change.rows)?;
    for (row, hash) in keys.hashes.iter().enumerate() {
        let group = key_group::of_hash(*hash, max_parallelism);
        rows[key_group::subtask(group, readers, max_parallelism)].push(row as u32);
    }
    let mut parts = Vec::with_capacity(readers);
    for (reader, rows) in rows.into_iter().enumerate() {
        if rows.len() == batch.change.len() {
            return Ok(vec![(
                reader,
                Batch {
                    splits: None,
                    ..batch.clone()
                },
            )]);
        }
        if !rows.is_empty() {
            parts.push((reader, batch.take(&UInt32Array::from(rows)).map_err(kernel)?));
        }
    }
    Ok(parts)
}
