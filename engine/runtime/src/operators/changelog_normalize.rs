//! A changelog by key made one of all kinds, as Flink's `ProcTimeDeduplicateKeepLastRowFunction` makes it
//! (`DeduplicateFunctionHelper.processLastRowOnChangelog`): the newest row of each key is kept, so that
//! a row that is there already is an update, one that is inserted again is nothing, and one that deletes goes
//! out as it was, whatever it says itself.
//!
//! With a condition only rows that pass are kept and sent on: one that no longer passes is deleted.

use arrow::array::BooleanArray;
use arrow::datatypes::SchemaRef;
use millrace_core::row::Rows;
use millrace_core::{Result, RowKind, key_group};
use millrace_dataflow::{Changelog, ChangelogNormalize as Plan};
use millrace_expr::RowType;
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_state::keyed::{KeyedBackend, Table};

use super::{Operator, now_millis};
use crate::changes::{Changes, WholeRows};
use crate::element::{Batch, Element};
use crate::keys::Keys;

/// What a row in memory takes at least.
const ROW_BYTES: usize = 64;

pub struct ChangelogNormalize {
    keys: Keys,
    condition: Option<Program>,
    rows: WholeRows,
    changes: Changes,
    table: Table,
    /// By slot the newest row of the key, encoded.
    newest: Vec<Option<Box<[u8]>>>,
    /// Bytes of all of them.
    bytes: usize,
    max_parallelism: u16,
    update_before: bool,
    schema: SchemaRef,
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
            table: Table::open(&backend.store, "rows", ROW_BYTES, backend.cache_bytes)?,
            newest: Vec::new(),
            bytes: 0,
            max_parallelism: backend.max_parallelism,
            update_before: changelog.before,
            schema,
        })
    }

    /// Brings the newest rows of a batch's keys into memory: the slot of each row's key.
    fn resolve(&mut self, batch: &Batch) -> Result<Vec<u32>> {
        let rows = &batch.change.rows;
        self.table
            .set_value_bytes(ROW_BYTES + self.bytes / self.table.width().max(1));
        let newest = &self.newest;
        self.table
            .make_room(rows.num_rows(), |slots, out| store(newest, slots, out))?;
        self.keys.encode(rows)?;
        let of_hash = |hash: &u64| key_group::of_hash(*hash, self.max_parallelism);
        let groups: Vec<u16> = self.keys.hashes.iter().map(of_hash).collect();
        let mut slots = Vec::with_capacity(rows.num_rows());
        let found = self
            .table
            .resolve(&self.keys.rows, &self.keys.hashes, &groups, &mut slots)?;
        self.newest.resize(self.table.width(), None);
        for slot in found.fresh {
            self.set(slot, None);
        }
        for (slot, row) in found.loaded.into_iter().zip(found.values.iter()) {
            self.set(slot, Some(row.into()));
        }
        Ok(slots)
    }

    fn set(&mut self, slot: u32, row: Option<Box<[u8]>>) {
        let place = &mut self.newest[slot as usize];
        self.bytes += row.as_ref().map_or(0, |row| row.len());
        self.bytes -= place.as_ref().map_or(0, |row| row.len());
        *place = row;
    }
}

fn store(newest: &[Option<Box<[u8]>>], slots: &[u32], out: &mut Rows) -> Result<()> {
    for slot in slots {
        out.data
            .extend_from_slice(newest[*slot as usize].as_deref().unwrap_or_default());
        out.ends.push(out.data.len());
    }
    Ok(())
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
            let before = self.newest[slot as usize].as_deref();
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
                    self.set(slot, None);
                    self.table.remove(slot);
                    continue;
                }
            }
            let newest = encoded.get(row).into();
            self.set(slot, Some(newest));
            self.table.changed([slot]);
        }
        self.changes.take(&self.rows, &self.schema, out)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        let newest = &self.newest;
        self.table.flush(|slots, out| store(newest, slots, out))?;
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
