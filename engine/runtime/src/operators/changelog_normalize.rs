//! A changelog by key made one of all kinds, as Flink's `ProcTimeDeduplicateKeepLastRowFunction` makes it
//! (`DeduplicateFunctionHelper.processLastRowOnChangelog`): the newest row of each key is kept, so that
//! a row that is there already is an update, one that is inserted again is nothing, and one that deletes goes
//! out as it was, whatever it says itself.
//!
//! With a condition only rows that pass are kept and sent on: one that no longer passes is deleted.

use arrow::array::BooleanArray;
use arrow::datatypes::SchemaRef;
use millrace_core::memory::{allocated, widen};
use millrace_core::row::Rows;
use millrace_core::{Result, RowKind, key_group};
use millrace_dataflow::{Changelog, ChangelogNormalize as Plan};
use millrace_expr::RowType;
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_state::keyed::{Columns, KeyedBackend, Table};

use super::{Operator, now_millis};
use crate::changes::{Changes, WholeRows};
use crate::element::{Batch, Element};
use crate::keys::Keys;

pub struct ChangelogNormalize {
    keys: Keys,
    condition: Option<Program>,
    rows: WholeRows,
    changes: Changes,
    table: Table,
    newest: Newest,
    max_parallelism: u16,
    update_before: bool,
    schema: SchemaRef,
}

/// By slot the newest row of the key, encoded.
#[derive(Default)]
struct Newest {
    rows: Vec<Option<Box<[u8]>>>,
    /// What they take on the heap.
    held_bytes: usize,
}

impl Newest {
    fn of(&self, slot: u32) -> Option<&[u8]> {
        self.rows[slot as usize].as_deref()
    }

    fn set(&mut self, slot: u32, row: Option<&[u8]>) {
        let place = &mut self.rows[slot as usize];
        self.held_bytes += row.map_or(0, |row| allocated(row.len()));
        self.held_bytes -= place.as_ref().map_or(0, |row| allocated(row.len()));
        *place = row.map(Box::from);
    }
}

impl Columns for Newest {
    fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn encode(&self, slots: &[u32], out: &mut Rows) -> Result<()> {
        slots
            .iter()
            .for_each(|slot| out.push(self.of(*slot).unwrap_or_default()));
        Ok(())
    }

    fn release(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.set(*slot, None));
    }
}

impl ChangelogNormalize {
    pub fn new(
        plan: &Plan,
        changelog: Changelog,
        row: &RowType,
        session: &Session,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let schema = row.to_arrow();
        Ok(ChangelogNormalize {
            keys: Keys::new(&plan.keys, &schema)?,
            condition: plan
                .condition
                .as_ref()
                .map(|c| Program::compile(c, session))
                .transpose()?,
            rows: WholeRows::new(&schema)?,
            changes: Changes::default(),
            table: Table::open(
                &backend.store,
                "rows",
                size_of::<Option<Box<[u8]>>>(),
                backend.cache_bytes,
            )?,
            newest: Newest::default(),
            max_parallelism: backend.max_parallelism,
            update_before: changelog.before,
            schema,
        })
    }

    /// Brings the newest rows of a batch's keys into memory: the slot of each row's key.
    fn resolve(&mut self, batch: &Batch) -> Result<Vec<u32>> {
        let rows = &batch.change.rows;
        self.table.make_room(rows.num_rows(), &mut self.newest)?;
        self.keys.encode(rows)?;
        let of_hash = |hash: &u64| key_group::of_hash(*hash, self.max_parallelism);
        let groups: Vec<u16> = self.keys.hashes.iter().map(of_hash).collect();
        let mut slots = Vec::with_capacity(rows.num_rows());
        let found = self
            .table
            .resolve(&self.keys.rows, &self.keys.hashes, &groups, &mut slots)?;
        widen(&mut self.newest.rows, self.table.width(), None);
        for slot in found.fresh {
            self.newest.set(slot, None);
        }
        for (slot, row) in found.loaded.into_iter().zip(found.values.iter()) {
            self.newest.set(slot, Some(row));
        }
        Ok(slots)
    }
}

impl Operator for ChangelogNormalize {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let count = batch.change.len();
        if count == 0 {
            return Ok(());
        }
        let passing = self.passing(&batch)?;
        let slots = self.resolve(&batch)?;
        let encoded = self.rows.encode(&batch.change.rows)?;
        for (row, &slot) in slots.iter().enumerate() {
            let before = self.newest.of(slot);
            let changes = &mut self.changes;
            changes.caused_by(batch.watermarks.as_deref(), row);
            let is_there = matches!(batch.change.kind(row), RowKind::Insert | RowKind::UpdateAfter);
            let passes = is_there && passing.as_ref().is_none_or(|p| p.value(row));
            match (before, passes) {
                (None, false) => {
                    // Nothing is kept of the key, which may have been made for this row.
                    self.table.remove(slot);
                    continue;
                }
                (None, true) => changes.push(RowKind::Insert, encoded.get(row)),
                // Flink compares the kind with the row, and keeps rows as inserts: of an update that
                // repeats itself it sends another one. Where rows expire it sends one of each.
                (Some(before), _)
                    if batch.change.kind(row) == RowKind::Insert
                        && before == encoded.get(row)
                        && !self.table.expires() =>
                {
                    continue;
                }
                (Some(before), true) => {
                    if self.update_before {
                        changes.push(RowKind::UpdateBefore, before);
                    }
                    changes.push(RowKind::UpdateAfter, encoded.get(row));
                }
                (Some(before), false) => {
                    changes.push(RowKind::Delete, before);
                    self.newest.set(slot, None);
                    self.table.remove(slot);
                    continue;
                }
            }
            self.newest.set(slot, Some(encoded.get(row)));
            self.table.changed([slot]);
        }
        self.changes.take(&self.rows, &self.schema, out)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.table.flush(&mut self.newest)?;
        Ok(Vec::new())
    }
}

impl ChangelogNormalize {
    fn passing(&self, batch: &Batch) -> Result<Option<BooleanArray>> {
        let Some(condition) = &self.condition else {
            return Ok(None);
        };
        let evaluation = Evaluation {
            now_millis: now_millis(),
        };
        // A row that deletes may have nothing but its key.
        let deletes =
            |row: &usize| matches!(batch.change.kind(*row), RowKind::Delete | RowKind::UpdateBefore);
        if (0..batch.change.len()).any(|row| deletes(&row)) {
            let there: Vec<u32> = (0..batch.change.len())
                .filter(|row| !deletes(row))
                .map(|row| row as u32)
                .collect();
            let rows = batch.take(&there.clone().into()).map_err(super::kernel)?;
            let mask = condition.filter_mask(&rows.change.rows, &evaluation)?;
            let mut all = vec![false; batch.change.len()];
            for (row, passes) in there.into_iter().zip(mask.values()) {
                all[row as usize] = passes;
            }
            return Ok(Some(all.into()));
        }
        condition.filter_mask(&batch.change.rows, &evaluation).map(Some)
    }
}
