//! GROUP BY in mini-batches: a group's result is given once a bundle, not once a row. The rows come as
//! they are (Flink's `MiniBatchGroupAggFunction`), or summed up by a `LocalGroupAggregate`
//! (`MiniBatchGlobalGroupAggFunction`).

use arrow::datatypes::SchemaRef;
use millrace_connector_api::ChangeBatch;
use millrace_core::{Error, Result, RowKind};
use millrace_dataflow::{Changelog, GroupAggregate as Plan};
use millrace_expr::RowType;
use millrace_expr::aggregate::Grouped;
use millrace_state::keyed::KeyedBackend;

use super::bundle::Bundled;
use super::group_aggregate::retractions;
use super::group_results::{GroupResults, unchanged};
use super::groups::{Groups, State};
use crate::element::Element;

pub struct BundledGroupAggregate {
    key_columns: Vec<usize>,
    groups: Groups,
    rows: Form,
    /// Whether readers need what a result was before.
    update_before: bool,
    schema: SchemaRef,
}

/// What comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Rows,
    /// Keys, then the states of groups (`State::columns`).
    States,
}

impl BundledGroupAggregate {
    pub fn new(
        plan: &Plan,
        rows: Form,
        changelog: Changelog,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        Ok(BundledGroupAggregate {
            groups: Groups::open(&plan.keys, &input.to_arrow(), &plan.calls, plan.retracts, backend)?,
            key_columns: plan.keys.clone(),
            rows,
            update_before: changelog.before,
            schema: output.to_arrow(),
        })
    }
}

/// Which of a bundle's rows count, and what they add to the number of rows of their groups. What takes
/// something back from a group that has nothing yet does not count, as in Flink.
fn count_rows(
    state: &mut State,
    slots: &[u32],
    is_fresh: &[bool],
    retract: Option<&[bool]>,
) -> Option<Vec<bool>> {
    let rows = state.rows.as_mut()?;
    let mut waits: Vec<bool> = is_fresh.to_vec();
    let mut pass = Vec::with_capacity(slots.len());
    for (row, slot) in slots.iter().enumerate() {
        let back = retract.is_some_and(|retract| retract[row]);
        let waits = &mut waits[*slot as usize];
        let counts = !(back && *waits);
        if counts {
            *waits = false;
            rows[*slot as usize] += if back { -1 } else { 1 };
        }
        pass.push(counts);
    }
    Some(pass)
}

impl Bundled for BundledGroupAggregate {
    fn bundle(&mut self, change: ChangeBatch, out: &mut Vec<Element>) -> Result<()> {
        let (slots, first) = self.groups.resolve(&change.rows)?;
        let width = slots.iter().max().map_or(0, |slot| *slot as usize + 1);
        let mut is_fresh = vec![false; width];
        for (slot, first) in slots.iter().zip(&first) {
            is_fresh[*slot as usize] |= *first;
        }
        // Each group once, with its first row.
        let mut seen = vec![false; width];
        let (mut groups, mut rows): (Vec<u32>, Vec<usize>) = (Vec::new(), Vec::new());
        for (row, slot) in slots.iter().enumerate() {
            if !std::mem::replace(&mut seen[*slot as usize], true) {
                groups.push(*slot);
                rows.push(row);
            }
        }
        let retract = retractions(&change);
        let form = self.rows;
        let columns = change.rows.columns();
        let states = columns.get(self.key_columns.len()..).unwrap_or_default();
        let (before, after) = self.groups.with_maps(|state, maps| {
            let before = state.calls.values(&groups, maps)?;
            match form {
                Form::Rows => {
                    if retract.is_some() && state.rows.is_none() {
                        return Err(Error::internal(
                            "an aggregation that was planned over inserts meets other rows",
                        ));
                    }
                    let pass = count_rows(state, &slots, &is_fresh, retract.as_deref());
                    let grouped = Grouped {
                        columns,
                        slots: &slots,
                        retract: retract.as_deref(),
                        first: None,
                        pass: pass.as_deref(),
                    };
                    state.calls.update(&grouped, maps)?;
                }
                Form::States => state.merge(&slots, states)?,
            }
            Ok((before, state.calls.values(&groups, maps)?))
        })?;
        let same = match self.groups.expires() {
            // As without bundles, each update goes out.
            true => None,
            false => Some(unchanged(&before, &after, groups.len())?),
        };
        let mut results = GroupResults::default();
        for (index, slot) in groups.iter().enumerate() {
            let fresh = is_fresh[*slot as usize];
            let counts = self.groups.state.rows.as_ref();
            if counts.is_some_and(|counts| counts[*slot as usize] == 0) {
                if !fresh {
                    results.push(rows[index], index, RowKind::Delete);
                }
                self.groups.remove(*slot);
                continue;
            }
            self.groups.changed(*slot);
            if fresh {
                results.push(rows[index], groups.len() + index, RowKind::Insert);
            } else if same.as_ref().is_none_or(|same| !same.value(index)) {
                if self.update_before {
                    results.push(rows[index], index, RowKind::UpdateBefore);
                }
                results.push(rows[index], groups.len() + index, RowKind::UpdateAfter);
            }
        }
        self.groups.keep_with_rows(&groups)?;
        let batch = results.batch(&change, &self.key_columns, &before, &after, &self.schema)?;
        out.extend(batch.map(|batch| Element::Batch(batch.into())));
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.groups.flush()?;
        Ok(Vec::new())
    }
}
