//! The rows of sessions, in the order in which they came, until their session is known: rows of sessions that
//! become one, too. A session may have more of them than fit into memory: they are given, and put among those of
//! another session, some at a time.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::Rows;
use millrace_core::{Error, Result};
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, MapsOf, Table};

use super::super::window_table::bounds_columns;
use super::super::{BATCH, BATCH_BYTES, kernel};
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
    giving: Giving,
}

/// Sessions that are being given, whose slots stay theirs meanwhile.
#[derive(Default)]
struct Giving {
    sessions: Vec<(u32, Session)>,
    /// The session whose turn it is, and the number of its next row.
    at: usize,
    next: u64,
}

/// Some rows of a session.
#[derive(Default)]
struct Piece {
    numbers: Vec<u64>,
    /// Each with its kind before it.
    rows: Rows,
    /// The number of the row behind them; none: there is none.
    next: Option<u64>,
}

impl Piece {
    fn read(maps: &MapsOf<'_>, slot: u32, from: u64) -> Result<Piece> {
        let mut piece = Piece::default();
        maps.each_from(slot, &[], &from.to_be_bytes(), |number, row| {
            let number = u64::from_be_bytes(number.try_into().map_err(|_| damaged())?);
            if piece.rows.len() >= BATCH || piece.rows.data.len() >= BATCH_BYTES {
                piece.next = Some(number);
                return Ok(false);
            }
            piece.numbers.push(number);
            piece.rows.push(row);
            Ok(true)
        })?;
        Ok(piece)
    }
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
            giving: Giving::default(),
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
    /// Whether they are enough for a batch.
    fn is_full(&self) -> bool {
        self.kinds.len() >= BATCH || self.rows.data.len() >= BATCH_BYTES
    }

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
            let mut from = Some(0);
            while let Some(number) = from {
                let piece = Piece::read(&maps, *other, number)?;
                for (number, row) in piece.numbers.iter().zip(piece.rows.iter()) {
                    maps.put(*first, &number.to_be_bytes(), row);
                }
                maps.relieve(*first)?;
                from = piece.next;
            }
        }
        self.table.changed([*first]);
        self.release(others)
    }

    fn give(&mut self, over: &[(&[u8], Session)], windows: &Windows, out: &mut Vec<Element>) -> Result<bool> {
        let slots = self.resolve(over.iter().map(|(key, session)| (*key, session.state)))?;
        self.giving = Giving {
            sessions: slots.into_iter().zip(over.iter().map(|(_, s)| *s)).collect(),
            ..Giving::default()
        };
        self.give_more(windows, out)
    }

    fn give_more(&mut self, windows: &Windows, out: &mut Vec<Element>) -> Result<bool> {
        let mut giving = std::mem::take(&mut self.giving);
        let mut given = Given::default();
        let maps = self.maps()?;
        while !given.is_full()
            && let Some((slot, session)) = giving.sessions.get(giving.at)
        {
            let piece = Piece::read(&maps, *slot, giving.next)?;
            for stored in piece.rows.iter() {
                let (kind, row) = stored.split_first().ok_or_else(damaged)?;
                given.kinds.push(*kind);
                given.rows.push(row);
                given.sessions.push(*session);
            }
            match piece.next {
                Some(next) => giving.next = next,
                None => (giving.at, giving.next) = (giving.at + 1, 0),
            }
        }
        given.take(&self.rows, &self.schema, windows, out)?;
        if giving.at < giving.sessions.len() {
            self.giving = giving;
            return Ok(true);
        }
        let slots: Vec<u32> = giving.sessions.iter().map(|(slot, _)| *slot).collect();
        self.release(&slots)?;
        Ok(false)
    }

    fn flush(&mut self) -> Result<()> {
        self.table.flush(&mut encode)
    }

    fn note(&self) -> Vec<u8> {
        self.next.to_be_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use millrace_dataflow::{Window, Windowing};
    use millrace_expr::text::zone;

    use super::*;
    use crate::operators::harness::{Change, batch, changes, insert, row_type, state};

    const LIMIT: usize = 100_000;

    /// Sessions of a key with more rows than there is memory.
    #[test]
    fn sessions_that_do_not_fit_into_memory_are_merged_and_given_in_pieces() {
        let (input, output) = (
            row_type(&["k", "t", "v"]),
            row_type(&["k", "t", "v", "t_start", "t_end", "t_time"]),
        );
        let state = state(LIMIT);
        let mut stored = StoredRows::open(&input, &output, &state.backend, []).unwrap();
        let windowing = Windowing::Laid {
            window: Window::Session { gap: 10 },
            time: Some(1),
        };
        let time = output.to_arrow().fields().last().map(|f| f.data_type().clone());
        let windows = Windows::new(&windowing, time.as_ref(), zone::session("UTC").unwrap());
        let assert_small = |stored: &StoredRows| {
            let bytes = stored.table.bytes();
            assert!(bytes < 3 * LIMIT, "{bytes} bytes are in memory");
        };
        let (mut expected, mut number) = (Vec::new(), 0);
        for session in [100, 200] {
            for _ in 0..20 {
                let rows: Vec<Change> = (number..number + 1_000)
                    .map(|n| insert(&[1, session + n % 5, n]))
                    .collect();
                number += 1_000;
                let of_rows = vec![(&b"key"[..], session); rows.len()];
                let numbers: Vec<u32> = (0..rows.len() as u32).collect();
                stored.take(&batch(&input, &rows), &numbers, &of_rows).unwrap();
                assert_small(&stored);
                expected.extend(rows.into_iter().map(|(_, row)| row));
            }
        }
        let session = |start| Session {
            start,
            end: 210,
            state: start,
        };
        let touched = [session(100), session(200)];
        stored.merge(b"key", &touched).unwrap();
        assert_small(&stored);
        let mut out = Vec::new();
        let mut is_more = stored
            .give(&[(b"key", session(100))], &windows, &mut out)
            .unwrap();
        let mut found = Vec::new();
        loop {
            assert_small(&stored);
            let some = changes(std::mem::take(&mut out));
            assert!(some.len() < 2 * BATCH);
            found.extend(some.into_iter().map(|(_, row)| row));
            if !is_more {
                break;
            }
            is_more = stored.give_more(&windows, &mut out).unwrap();
        }
        let bounds = [Some(100), Some(210), Some(209)];
        let expected: Vec<_> = expected.iter().map(|row| [row, &bounds[..]].concat()).collect();
        assert!(found == expected);
        // Nothing is left of it.
        stored.flush().unwrap();
        let slots = stored.resolve([(&b"key"[..], 100)].into_iter()).unwrap();
        let piece = Piece::read(&stored.maps().unwrap(), slots[0], 0).unwrap();
        assert!(piece.rows.is_empty());
    }
}
