//! Columns that nobody reads are not produced: in the end, a source gives what is used of it.

use std::collections::BTreeSet;

use millrace_expr::aggregate::AggregateCall;
use millrace_expr::{Expr, RowType, TypeKind};

use super::expressions::{add_columns, remap};
use crate::plan::{Op, Origin, ReadTable, Rel, WindowTable};

pub(super) fn apply(rel: Rel) -> Rel {
    let all: BTreeSet<usize> = (0..rel.output.fields.len()).collect();
    prune(rel, &all)
}

/// Gives exactly the `required` columns in ascending order; they are never none, for a batch
/// without columns has no rows to count.
fn prune(mut rel: Rel, required: &BTreeSet<usize>) -> Rel {
    let kept = RowType::new(required.iter().map(|&i| rel.output.fields[i].clone()).collect());
    match &mut rel.op {
        Op::Table { columns, .. } => *columns = required.iter().map(|&i| columns[i]).collect(),
        Op::Calc {
            condition,
            projection,
        } => {
            let mut used = BTreeSet::new();
            let exprs: Vec<Expr> = required.iter().map(|&i| projection[i].clone()).collect();
            exprs
                .iter()
                .chain(&*condition)
                .for_each(|e| add_columns(e, &mut used));
            if used.is_empty() {
                used.insert(cheapest(&rel.inputs[0]));
            }
            let position = |i: usize| used.range(..i).count();
            *condition = condition.as_ref().map(|c| remap(c, &position));
            *projection = exprs.iter().map(|e| remap(e, &position)).collect();
            rel.inputs = rel.inputs.into_iter().map(|input| prune(input, &used)).collect();
        }
        Op::Union => {
            rel.inputs = rel
                .inputs
                .into_iter()
                .map(|input| prune(input, required))
                .collect();
        }
        Op::Values { rows } => {
            for row in rows {
                *row = required.iter().map(|&i| row[i].clone()).collect();
            }
        }
        Op::Aggregate { keys, calls } => {
            // Keys stay, for they say what the rows are; results that nobody reads go.
            let of_keys = keys.len();
            let kept_calls: Vec<AggregateCall> = required
                .iter()
                .filter_map(|i| i.checked_sub(of_keys))
                .map(|i| calls[i].clone())
                .collect();
            let mut used: BTreeSet<usize> = keys.iter().copied().collect();
            used.extend(kept_calls.iter().flat_map(AggregateCall::columns));
            if used.is_empty() {
                used.insert(cheapest(&rel.inputs[0]));
            }
            let position = |i: usize| used.range(..i).count();
            let keys = keys.iter().map(|k| position(*k)).collect();
            let calls = kept_calls
                .into_iter()
                .map(|call| call.remapped(&position))
                .collect();
            let names = required
                .range(of_keys..)
                .map(|&i| rel.output.fields[i].name.clone())
                .collect();
            let input = prune(rel.inputs.remove(0), &used);
            let aggregate = Rel::aggregate(input, keys, calls, names);
            return some_columns(
                aggregate,
                required.iter().map(|&i| match i < of_keys {
                    true => i,
                    false => of_keys + required.range(of_keys..i).count(),
                }),
            );
        }
        Op::WindowTable(spec) => {
            let of_input = rel.inputs[0].output.fields.len();
            let mut used: BTreeSet<usize> = required.range(..of_input).copied().collect();
            used.insert(spec.time);
            used.extend(&spec.partition);
            let position = |i: usize| used.range(..i).count();
            let spec = WindowTable {
                time: position(spec.time),
                partition: spec.partition.iter().map(|i| position(*i)).collect(),
                ..spec.clone()
            };
            let input = prune(rel.inputs.remove(0), &used);
            let table = Rel::window_table(input, spec);
            return some_columns(
                table,
                required.iter().map(|&i| match i < of_input {
                    true => position(i),
                    false => used.len() + i - of_input,
                }),
            );
        }
        // Made later, with what they need only.
        Op::Scan { .. } | Op::Watermark { .. } | Op::ChangelogNormalize { .. } | Op::DropUpdateBefore => {
            return rel;
        }
    }
    rel.output = kept;
    rel
}

/// A projection of columns as they are, where it is not all of them.
fn some_columns(rel: Rel, columns: impl Iterator<Item = usize>) -> Rel {
    let columns: Vec<usize> = columns.collect();
    if columns.iter().copied().eq(0..rel.output.fields.len()) {
        return rel;
    }
    let fields = columns.iter().map(|&i| &rel.output.fields[i]);
    let names = fields.clone().map(|f| f.name.clone()).collect();
    let projection = columns
        .iter()
        .zip(fields)
        .map(|(&i, f)| Expr::column(i, f.data_type.clone()))
        .collect();
    Rel::calc(rel, None, projection, names)
}

/// The column to read where only the number of rows counts: of fixed width, if there is one.
fn cheapest(rel: &Rel) -> usize {
    let Op::Table { table, columns } = &rel.op else {
        return 0;
    };
    let cost = |table: &ReadTable, i: usize| {
        let column = &table.columns[i];
        let origin = match column.origin {
            Origin::Physical(_) => 0,
            Origin::Metadata(_) => 1,
            Origin::Computed(_) => 2,
        };
        let width = match column.data_type.kind {
            TypeKind::Char(_) | TypeKind::Varchar(_) | TypeKind::Binary(_) | TypeKind::Varbinary(_) => 1,
            TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_) => 2,
            _ => 0,
        };
        (origin, width)
    };
    (0..columns.len())
        .min_by_key(|&i| cost(table, columns[i]))
        .unwrap_or(0)
}
