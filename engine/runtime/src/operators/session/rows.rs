//! The rows of sessions, in the order in which they came, until their session is known: rows of sessions that
//! become one, too.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
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
    /// Of each session a map: number to kind and row.
    table: Table,
    /// The number of the next row, over all keys and restarts.
    next: u64,
    rows: WholeRows,
    schema: SchemaRef,
    max_parallelism: u16,
}

impl StoredRows {
    /// `notes` are those of all subtasks.
    pub fn open<'a>(
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
        notes: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self> {
        let mut next = 0;
        for note in notes {
            next = next.max(u64::from_be_bytes(note.try_into().map_err(|_| damaged())?));
        }
        let table = Table::open(&backend.store, "states", 0, backend.row_bytes(1) / 2)?;
        Ok(StoredRows {
            table: table.with_maps("states-rows", Vec::new())?,
            next,
            rows: WholeRows::new(&input.to_arrow())?,
            schema: output.to_arrow(),
            max_parallelism: backend.max_parallelism,
        })
    }

    fn resolve<'a>(&mut self, sessions: impl Iterator<Item = (&'a [u8], i64)>) -> Result<Vec<u32>> {
        let (full, hashes, groups) = places(sessions, self.max_parallelism);
        self.table.make_room(full.len(), &mut encode)?;
        let mut slots = Vec::with_capacity(full.len());
        self.table.resolve(&full, &hashes, &groups, &mut slots)?;
        Ok(slots)
    }

    fn release(&mut self, slots: &[u32]) -> Result<()> {
        self.table.release(slots, &mut encode)
    }

    fn maps(&mut self) -> Result<MapsOf<'_>> {
        self.table.maps().ok_or_else(mapless)
    }
}

/// Beside its rows a session has nothing.
fn encode(slots: &[u32], out: &mut Rows) -> Result<()> {
    slots.iter().for_each(|_| out.push(&[]));
    Ok(())
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
        let first = self.next;
        self.next += rows.len() as u64;
        let mut maps = self.maps()?;
        let mut stored = Vec::new();
        for (number, (row, slot)) in (first..).zip(rows.iter().zip(&slots)) {
            let row = *row as usize;
            stored.clear();
            stored.push(kind_of(&batch.change, row) as u8);
            stored.extend_from_slice(encoded.get(row));
            maps.put(*slot, &number.to_be_bytes(), &stored);
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
        let mut maps = self.maps()?;
        for other in others {
            let (mut numbers, mut rows) = (Rows::default(), Rows::default());
            maps.each(*other, &[], |number, row| {
                numbers.push(number);
                rows.push(row);
                Ok(())
            })?;
            for (number, row) in numbers.iter().zip(rows.iter()) {
                maps.put(*first, number, row);
            }
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
        self.table.flush(&mut encode)
    }

    fn note(&self) -> Vec<u8> {
        self.next.to_be_bytes().to_vec()
    }
}
