//! GROUP BY over a stream: the result of a row's group, row by row, as Flink's `GroupAggFunction`
//! gives it. A group's first row inserts its result; others update it, or do nothing where the
//! result stays the same; and when all of a group's rows are taken back, its result is deleted.
//!
//! Where groups expire, an update goes out though the result stays the same: operators behind keep their
//! rows of it alive by it.

use arrow::datatypes::SchemaRef;
use millrace_connector_api::ChangeBatch;
use millrace_core::{Error, Result, RowKind};
use millrace_dataflow::{Changelog, GroupAggregate as Plan};
use millrace_expr::RowType;
use millrace_expr::aggregate::Grouped;
use millrace_state::keyed::KeyedBackend;

use super::Operator;
use super::group_results::{GroupResults, unchanged};
use super::groups::{Groups, State};
use super::parts::{Parts, slice};
use crate::element::{Batch, Element};

pub struct GroupAggregate {
    key_columns: Vec<usize>,
    groups: Groups,
    /// Whether readers need what a result was before.
    update_before: bool,
    schema: SchemaRef,
    parts: Parts,
    /// A batch, and where its next part begins.
    arriving: Option<(ChangeBatch, usize)>,
}

/// What a row does to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Next,
    /// Takes the group's only row back.
    Last,
    /// Takes a row back from a group that has none: as in Flink, nothing.
    Void,
}

impl GroupAggregate {
    pub fn new(
        plan: &Plan,
        changelog: Changelog,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let groups = Groups::open(&plan.keys, &input.to_arrow(), &plan.calls, plan.retracts, backend)?;
        Ok(GroupAggregate {
            parts: Parts::new(groups.state.calls.uses_maps()),
            arriving: None,
            groups,
            key_columns: plan.keys.clone(),
            update_before: changelog.before,
            schema: output.to_arrow(),
        })
    }
}

/// What each row does to its group; rows are counted on the way.
fn turns(state: &mut State, slots: &[u32], first: &[bool], retract: Option<&[bool]>) -> Result<Vec<Turn>> {
    let Some(rows) = &mut state.rows else {
        if retract.is_some() {
            return Err(Error::internal(
                "an aggregation that was planned over inserts meets other rows",
            ));
        }
        let turn = |first: &bool| if *first { Turn::First } else { Turn::Next };
        return Ok(first.iter().map(turn).collect());
    };
    let turn = |(row, slot): (usize, &u32)| {
        let count = &mut rows[*slot as usize];
        match (retract.is_some_and(|r| r[row]), *count) {
            (true, 0) => Turn::Void,
            (true, n) => {
                *count -= 1;
                if n == 1 { Turn::Last } else { Turn::Next }
            }
            (false, n) => {
                *count += 1;
                if n == 0 { Turn::First } else { Turn::Next }
            }
        }
    };
    Ok(slots.iter().enumerate().map(turn).collect())
}

impl GroupAggregate {
    fn part(&mut self, change: ChangeBatch, out: &mut Vec<Element>) -> Result<()> {
        let count = change.len();
        let retract = retractions(&change);
        let (slots, first) = self.groups.resolve(&change.rows)?;
        let turns = turns(&mut self.groups.state, &slots, &first, retract.as_deref())?;
        let first: Vec<bool> = turns.iter().map(|turn| *turn == Turn::First).collect();
        let pass: Option<Vec<bool>> = match turns.contains(&Turn::Void) {
            true => Some(turns.iter().map(|turn| *turn != Turn::Void).collect()),
            false => None,
        };
        let grouped = Grouped {
            columns: change.rows.columns(),
            slots: &slots,
            retract: retract.as_deref(),
            first: Some(&first),
            pass: pass.as_deref(),
        };
        let (before, after) = self
            .groups
            .with_maps(|state, maps| state.calls.trace(&grouped, maps))?;
        self.parts.gave(count, &after);
        for (slot, turn) in slots.iter().zip(&turns) {
            match turn {
                Turn::Void => {}
                Turn::Last => self.groups.remove(*slot),
                Turn::First | Turn::Next => self.groups.changed(*slot),
            }
        }
        self.groups.keep_with_rows(&slots)?;
        let same = match self.groups.expires() {
            true => None,
            false => Some(unchanged(&before, &after, count)?),
        };
        let mut results = GroupResults::with_capacity(2 * count);
        let mut push = |row: usize, is_after: bool, kind: RowKind| {
            results.push(row, if is_after { count + row } else { row }, kind);
        };
        for (row, turn) in turns.iter().enumerate() {
            match turn {
                Turn::First => push(row, true, RowKind::Insert),
                Turn::Last => push(row, false, RowKind::Delete),
                Turn::Next if same.as_ref().is_none_or(|same| !same.value(row)) => {
                    if self.update_before {
                        push(row, false, RowKind::UpdateBefore);
                    }
                    push(row, true, RowKind::UpdateAfter);
                }
                Turn::Next | Turn::Void => {}
            }
        }
        let batch = results.batch(&change, &self.key_columns, &before, &after, &self.schema)?;
        out.extend(batch.map(|batch| Element::Batch(batch.into())));
        Ok(())
    }
}

impl Operator for GroupAggregate {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        if batch.change.is_empty() {
            return Ok(());
        }
        self.arriving = Some((batch.change, 0));
        self.resume(out)
    }

    fn has_more(&self) -> bool {
        self.arriving.is_some()
    }

    fn resume(&mut self, out: &mut Vec<Element>) -> Result<()> {
        let Some((change, from)) = self.arriving.take() else {
            return Ok(());
        };
        let to = self.parts.end(from, change.len());
        self.part(slice(&change, from, to), out)?;
        self.arriving = (to < change.len()).then_some((change, to));
        Ok(())
    }

    fn look_ahead(&self) -> usize {
        self.groups.look_ahead()
    }

    fn prefetch(&mut self, coming: &[(usize, &Batch)]) -> Result<()> {
        self.groups.prefetch(coming)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.groups.flush()?;
        Ok(Vec::new())
    }
}

/// Rows of a batch that take something back; none, where there are no such.
pub(super) fn retractions(change: &ChangeBatch) -> Option<Vec<bool>> {
    let kinds = change.kinds.as_ref()?.values();
    let back = |kind: &u8| *kind == RowKind::UpdateBefore as u8 || *kind == RowKind::Delete as u8;
    kinds.iter().any(back).then(|| kinds.iter().map(back).collect())
}
