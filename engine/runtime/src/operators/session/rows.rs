//! The rows of sessions, in the order in which they came, until their session is known.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::memory::widen;
use millrace_core::row::Rows;
use millrace_core::{Error, Result};
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, MapsOf, Table};

use super::super::window_table::bounds_columns;
use super::super::{BATCH, kernel};
use super::Content;
use super::aggregate::places;
use super::sessions::Session;
use crate::changes::{WholeRows, kind_of, kinds_of};
use crate::element::{Batch, Element};
use crate::windows::Windows;

pub(super) struct StoredRows {
    /// Of each session the number of its next row; beside it a map: number to kind and row.
    table: Table,
    next: Vec<u64>,
    rows: WholeRows,
    schema: SchemaRef,
    max_parallelism: u16,
}

impl StoredRows {
    pub fn open(input: &RowType, output: &RowType, backend: &KeyedBackend) -> Result<Self> {
        let table = Table::open(
            &backend.store,
            "states",
            size_of::<u64>(),
            backend.row_bytes(1) / 2,
        )?;
        Ok(StoredRows {
            table: table.with_maps("states-rows", Vec::new())?,
            next: Vec::new(),
            rows: WholeRows::new(&input.to_arrow())?,
            schema: output.to_arrow(),
            max_parallelism: backend.max_parallelism,
        })
    }

    fn resolve<'a>(&mut self, sessions: impl Iterator<Item = (&'a [u8], i64)>) -> Result<Vec<u32>> {
        let (full, hashes, groups) = places(sessions, self.max_parallelism);
        let next = &self.next;
        self.table
            .make_room(full.len(), &mut |slots: &[u32], out: &mut Rows| {
                encode(next, slots, out)
            })?;
        let mut slots = Vec::with_capacity(full.len());
        let resolved = self.table.resolve(&full, &hashes, &groups, &mut slots)?;
        widen(&mut self.next, self.table.width(), 0);
        resolved
            .fresh
            .iter()
            .for_each(|slot| self.next[*slot as usize] = 0);
        for (slot, stored) in resolved.loaded.iter().zip(resolved.values.iter()) {
            let next = stored.try_into().map_err(|_| damaged())?;
            self.next[*slot as usize] = u64::from_be_bytes(next);
        }
        Ok(slots)
    }

    fn release(&mut self, slots: &[u32]) -> Result<()> {
        let next = &self.next;
        self.table.release(slots, &mut |slots: &[u32], out: &mut Rows| {
            encode(next, slots, out)
        })
    }

    fn maps(&mut self) -> Result<(MapsOf<'_>, &mut [u64])> {
        let maps = self.table.maps().ok_or_else(mapless)?;
        Ok((maps, &mut self.next))
    }
}

fn encode(next: &[u64], slots: &[u32], out: &mut Rows) -> Result<()> {
    slots
        .iter()
        .for_each(|slot| out.push(&next[*slot as usize].to_be_bytes()));
    Ok(())
}

/// Puts a row behind those of its session.
fn push(maps: &mut MapsOf<'_>, next: &mut [u64], slot: u32, row: &[u8]) {
    let number = &mut next[slot as usize];
    maps.put(slot, &number.to_be_bytes(), row);
    *number += 1;
}

fn mapless() -> Error {
    Error::internal("the rows of sessions have no maps")
}

fn damaged() -> Error {
    Error::data_loss("the stored rows of a session have another form")
}

/// Rows with their sessions, on their way out.
#[derive(Default)]
struct Given {
    rows: Rows,
    kinds: Vec<u8>,
    sessions: Vec<Session>,
}

impl Given {
    fn take(
        &mut self,
        codec: &WholeRows,
        schema: &SchemaRef,
        windows: &Windows,
        out: &mut Vec<Element>,
    ) -> Result<()> {
        if self.kinds.is_empty() {
            return Ok(());
        }
        let mut columns = codec.decode(self.rows.iter())?;
        let sessions = std::mem::take(&mut self.sessions);
        columns.extend(bounds_columns(
            sessions.iter().map(|s| s.start).collect(),
            sessions.iter().map(|s| s.end).collect(),
            sessions.iter().map(|s| windows.time(s.end)).collect(),
            &schema.fields()[columns.len()..],
        )?);
        self.rows.clear();
        let rows = RecordBatch::try_new(schema.clone(), columns).map_err(kernel)?;
        let kinds = kinds_of(std::mem::take(&mut self.kinds));
        out.push(Element::Batch(ChangeBatch { rows, kinds }.into()));
        Ok(())
    }
}

impl Content for StoredRows {
    fn take(&mut self, batch: &Batch, rows: &[u32], of_rows: &[(&[u8], i64)]) -> Result<()> {
        let slots = self.resolve(of_rows.iter().copied())?;
        let encoded = self.rows.encode(&batch.change.rows)?;
        let (mut maps, next) = self.maps()?;
        let mut stored = Vec::new();
        for (row, slot) in rows.iter().zip(&slots) {
            let row = *row as usize;
            stored.clear();
            stored.push(kind_of(&batch.change, row) as u8);
            stored.extend_from_slice(encoded.get(row));
            push(&mut maps, next, *slot, &stored);
        }
        self.table.changed(slots);
        Ok(())
    }

    fn at_once(&self) -> usize {
        // Each may have many rows.
        BATCH / 64
    }

    fn merge(&mut self, key: &[u8], sessions: &[Session]) -> Result<()> {
        let slots = self.resolve(sessions.iter().map(|session| (key, session.state)))?;
        let Some((first, others)) = slots.split_first() else {
            return Ok(());
        };
        let (mut maps, next) = self.maps()?;
        for other in others {
            let mut rows: Vec<Box<[u8]>> = Vec::new();
            maps.each(*other, &[], |_, row| {
                rows.push(row.into());
                Ok(())
            })?;
            rows.iter().for_each(|row| push(&mut maps, next, *first, row));
        }
        self.table.changed([*first]);
        self.release(others)
    }

    fn give(&mut self, over: &[(&[u8], Session)], windows: &Windows, out: &mut Vec<Element>) -> Result<()> {
        let slots = self.resolve(over.iter().map(|(key, session)| (*key, session.state)))?;
        let StoredRows {
            table,
            rows: codec,
            schema,
            ..
        } = self;
        let mut maps = table.maps().ok_or_else(mapless)?;
        let mut given = Given::default();
        for (slot, (_, session)) in slots.iter().zip(over) {
            maps.each(*slot, &[], |_, stored| {
                let (kind, row) = stored.split_first().ok_or_else(damaged)?;
                given.kinds.push(*kind);
                given.rows.push(row);
                given.sessions.push(*session);
                match given.kinds.len() < BATCH {
                    true => Ok(()),
                    false => given.take(codec, schema, windows, out),
                }
            })?;
        }
        given.take(codec, schema, windows, out)?;
        self.release(&slots)
    }

    fn flush(&mut self) -> Result<()> {
        let next = &self.next;
        self.table
            .flush(&mut |slots: &[u32], out: &mut Rows| encode(next, slots, out))
    }
}
