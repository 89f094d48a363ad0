//! Rows of one key of a sink that come by several ways, in an order that nobody promises, as Flink's
//! `SinkUpsertMaterializer` holds them: all that are there, in the order in which they came. The last of
//! them is what the sink has; when it is taken back the one before it comes out again, and with the last
//! one left the key is deleted.
//!
//! Rows of a key expire together: to Flink they are one state, which each change writes as a whole.

use std::ops::Bound;

use arrow::datatypes::SchemaRef;
use millrace_core::row::Rows;
use millrace_core::{Error, Result, RowKind, key_group};
use millrace_dataflow::SinkMaterializer as Plan;
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, MapTable};

use super::Operator;
use crate::changes::{Changes, WholeRows};
use crate::element::{Batch, Element};
use crate::keys::Keys;

pub struct SinkMaterializer {
    keys: Keys,
    /// What tells rows of a key apart, if it is not the whole row.
    upsert_key: Option<Keys>,
    rows: WholeRows,
    encoded: Rows,
    changes: Changes,
    /// Of each key its rows by a number that grows. A value is the length of the upsert key in four
    /// bytes, big-endian, the upsert key, and the row.
    table: MapTable,
    max_parallelism: u16,
    schema: SchemaRef,
}

impl SinkMaterializer {
    pub fn new(plan: &Plan, row: &RowType, backend: &KeyedBackend) -> Result<Self> {
        let schema = row.to_arrow();
        Ok(SinkMaterializer {
            keys: Keys::new(&plan.keys, &schema)?,
            upsert_key: match plan.upsert_key.is_empty() {
                true => None,
                false => Some(Keys::new(&plan.upsert_key, &schema)?),
            },
            rows: WholeRows::new(&schema)?,
            encoded: Rows::default(),
            changes: Changes::default(),
            table: MapTable::open(&backend.store, "rows", backend.cache_bytes)?,
            max_parallelism: backend.max_parallelism,
            schema,
        })
    }

    /// The number of the first row of a key that is the same as a row of the batch.
    fn find(&self, slot: u32, row: usize) -> Result<Option<Vec<u8>>> {
        for (number, value) in self.table.iter(slot) {
            let (key, stored) = parts(value)?;
            let is_same = match &self.upsert_key {
                Some(keys) => key == keys.rows.get(row),
                None => stored == self.encoded.get(row),
            };
            if is_same {
                return Ok(Some(number.to_vec()));
            }
        }
        Ok(None)
    }

    fn value(&self, row: usize) -> Vec<u8> {
        let key = self
            .upsert_key
            .as_ref()
            .map_or(&[][..], |keys| keys.rows.get(row));
        let length = (key.len() as u32).to_be_bytes();
        [&length, key, self.encoded.get(row)].concat()
    }

    fn add(&mut self, slot: u32, row: usize) -> Result<()> {
        let kind = match self.table.is_empty(slot) {
            true => RowKind::Insert,
            false => RowKind::UpdateAfter,
        };
        let found = match self.upsert_key {
            Some(_) => self.find(slot, row)?,
            None => None,
        };
        let number = match found {
            Some(number) => number,
            None => {
                let last = self.table.iter(slot).next_back();
                let last = last.map(|(number, _)| self::number(number)).transpose()?;
                last.map_or(0, |last| last + 1).to_be_bytes().to_vec()
            }
        };
        let value = self.value(row);
        self.table.put(slot, &number, &value);
        self.table.touch(slot, Bound::Unbounded, Bound::Unbounded);
        self.changes.push(kind, self.encoded.get(row));
        Ok(())
    }

    fn retract(&mut self, slot: u32, row: usize) -> Result<()> {
        // As in Flink, what is not there is not taken back.
        let Some(number) = self.find(slot, row)? else {
            return Ok(());
        };
        let last = self.table.iter(slot).next_back();
        let was_last = last.is_some_and(|(last, _)| last == number.as_slice());
        self.table.remove(slot, &number);
        self.table.touch(slot, Bound::Unbounded, Bound::Unbounded);
        match self.table.iter(slot).next_back() {
            None => self.changes.push(RowKind::Delete, self.encoded.get(row)),
            Some((_, value)) if was_last => self.changes.push(RowKind::UpdateAfter, parts(value)?.1),
            Some(_) => {}
        }
        Ok(())
    }
}

fn damaged() -> Error {
    Error::internal("the state of a sink's materializer is damaged")
}

fn number(bytes: &[u8]) -> Result<u64> {
    let bytes = bytes.try_into().map_err(|_| damaged())?;
    Ok(u64::from_be_bytes(bytes))
}

/// The upsert key and the row of a stored value.
fn parts(value: &[u8]) -> Result<(&[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk::<4>().ok_or_else(damaged)?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
        .ok_or_else(damaged)
}

impl Operator for SinkMaterializer {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let rows = &batch.change.rows;
        self.keys.encode(rows)?;
        if let Some(keys) = &mut self.upsert_key {
            keys.encode(rows)?;
        }
        self.encoded = self.rows.encode(rows)?;
        let of_hash = |hash: &u64| key_group::of_hash(*hash, self.max_parallelism);
        let groups: Vec<u16> = self.keys.hashes.iter().map(of_hash).collect();
        let mut slots = Vec::with_capacity(rows.num_rows());
        let mut next = 0;
        while next < rows.num_rows() {
            match next {
                0 => self.table.make_room()?,
                _ => self.table.make_room_between()?,
            }
            let (keys, hashes) = (&self.keys.rows, &self.keys.hashes);
            let placed = self.table.resolve_some(next, keys, hashes, &groups, &mut slots)?;
            for (row, &slot) in slots.iter().enumerate().skip(next) {
                self.changes.caused_by(batch.watermarks.as_deref(), row);
                match batch.change.kind(row) {
                    RowKind::Insert | RowKind::UpdateAfter => self.add(slot, row)?,
                    RowKind::UpdateBefore | RowKind::Delete => self.retract(slot, row)?,
                }
            }
            next = placed;
        }
        self.changes.take(&self.rows, &self.schema, out)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.table.flush()?;
        Ok(Vec::new())
    }
}
