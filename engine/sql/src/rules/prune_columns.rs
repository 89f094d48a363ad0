//! Columns that nobody reads are not produced: in the end, a source gives what is used of it.

use std::collections::BTreeSet;

use millrace_dataflow::{IntervalBounds, JoinKey, OverCall, SortKey, WindowColumns};
use millrace_expr::aggregate::AggregateCall;
use millrace_expr::{Expr, RowType, TypeKind};

use super::expressions::{add_columns, remap};
use crate::plan::{Expansion, Join, Op, Origin, Over, Rank, ReadTable, Rel, WindowAggregate, WindowTable};

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
        Op::Aggregate {
            keys,
            calls,
            state_ttl,
        } => {
            let state_ttl = *state_ttl;
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
            let mut aggregate = Rel::aggregate(input, keys, calls, names);
            if let Op::Aggregate {
                state_ttl: pruned, ..
            } = &mut aggregate.op
            {
                *pruned = state_ttl;
            }
            return some_columns(
                aggregate,
                required.iter().map(|&i| match i < of_keys {
                    true => i,
                    false => of_keys + required.range(of_keys..i).count(),
                }),
            );
        }
        Op::WindowAggregate(spec) => {
            let of_keys = spec.keys.len();
            let of_results = of_keys + spec.calls.len();
            let kept = |i: &usize| required.contains(&(of_keys + *i));
            let calls = (0..spec.calls.len()).filter(kept).map(|i| spec.calls[i].clone());
            let spec = WindowAggregate {
                calls: calls.collect(),
                ..spec.clone()
            };
            let mut used: BTreeSet<usize> = spec.columns().collect();
            if used.is_empty() {
                used.insert(cheapest(&rel.inputs[0]));
            }
            let spec = spec.remapped(&|i: usize| used.range(..i).count());
            let results = required.range(of_keys..of_results);
            let names = results.map(|&i| rel.output.fields[i].name.clone()).collect();
            let calls = spec.calls.len();
            let input = prune(rel.inputs.remove(0), &used);
            let aggregate = Rel::window_aggregate(input, spec, names);
            return some_columns(
                aggregate,
                required.iter().map(|&i| match i {
                    i if i < of_keys => i,
                    i if i < of_results => of_keys + required.range(of_keys..i).count(),
                    i => i - of_results + of_keys + calls,
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
        Op::Expand(expansions) => {
            let id = rel.inputs[0].output.fields.len();
            let mut used: BTreeSet<usize> = required.range(..id).copied().collect();
            if used.is_empty() {
                used.insert(cheapest(&rel.inputs[0]));
            }
            let position = |i: usize| used.range(..i).count();
            let expansions = expansions
                .iter()
                .map(|e| Expansion {
                    nulls: e
                        .nulls
                        .iter()
                        .filter(|i| used.contains(i))
                        .map(|i| position(*i))
                        .collect(),
                    id: e.id,
                })
                .collect();
            let expand = Rel::expand(prune(rel.inputs.remove(0), &used), expansions);
            return some_columns(
                expand,
                required.iter().map(|&i| match i < id {
                    true => position(i),
                    false => used.len(),
                }),
            );
        }
        Op::Over(over) => {
            let of_input = rel.inputs[0].output.fields.len();
            // A window without a result is none.
            let calls: Vec<OverCall> = required
                .range(of_input..)
                .map(|&i| over.calls[i - of_input].clone())
                .collect();
            let mut used: BTreeSet<usize> = required.range(..of_input).copied().collect();
            if !calls.is_empty() {
                used.extend(&over.partition);
                used.extend(over.order.iter().map(|key| key.column));
                used.extend(calls.iter().flat_map(OverCall::columns));
            }
            let position = |i: usize| used.range(..i).count();
            let over = Over {
                partition: over.partition.iter().map(|i| position(*i)).collect(),
                order: at(&over.order, &position),
                frame: over.frame,
                calls: calls.into_iter().map(|call| call.remapped(&position)).collect(),
            };
            let input = prune(rel.inputs.remove(0), &used);
            let over = match over.calls.is_empty() {
                true => input,
                false => Rel::over(input, over),
            };
            let columns = required.iter().map(|&i| match i < of_input {
                true => position(i),
                false => used.len() + required.range(of_input..i).count(),
            });
            return some_columns(over, columns);
        }
        Op::Rank(rank) => {
            let of_input = rel.inputs[0].output.fields.len();
            number_below(&mut rel.inputs[0]);
            let mut used: BTreeSet<usize> = required.range(..of_input).copied().collect();
            used.extend(&rank.partition);
            // A clock is no column: what it shows differs when a row is taken back.
            used.extend(
                rank.order
                    .iter()
                    .filter(|key| !key.is_clock())
                    .map(|key| key.column),
            );
            used.extend(numbers(&rel.inputs[0]));
            if used.is_empty() {
                used.insert(cheapest(&rel.inputs[0]));
            }
            let position = |i: usize| match used.contains(&i) {
                true => used.range(..i).count(),
                false => SortKey::UNREAD,
            };
            let rank = Rank {
                partition: rank.partition.iter().map(|i| position(*i)).collect(),
                order: at(&rank.order, &position),
                window: rank.window.map(|window| moved(window, &position)),
                with_number: required.contains(&of_input),
                ..rank.clone()
            };
            let rank = Rel::rank(prune(rel.inputs.remove(0), &used), rank);
            return some_columns(
                rank,
                required.iter().map(|&i| match i < of_input {
                    true => position(i),
                    false => used.len(),
                }),
            );
        }
        Op::Join(join) => {
            let of_left = rel.inputs[0].output.fields.len();
            let mut used: BTreeSet<usize> = required.clone();
            join.condition.iter().for_each(|e| add_columns(e, &mut used));
            used.extend(join.keys.iter().flat_map(|key| [key.left, of_left + key.right]));
            used.extend(
                join.interval
                    .iter()
                    .flat_map(|i| [i.left_time, of_left + i.right_time]),
            );
            used.extend(
                join.window
                    .iter()
                    .flat_map(|[l, r]| [l.start, l.end, of_left + r.start, of_left + r.end]),
            );
            let mut left: BTreeSet<usize> = used.range(..of_left).copied().collect();
            let mut right: BTreeSet<usize> = used.range(of_left..).map(|i| i - of_left).collect();
            if left.is_empty() {
                left.insert(cheapest(&rel.inputs[0]));
            }
            if right.is_empty() {
                right.insert(cheapest(&rel.inputs[1]));
            }
            let (on_left, on_right) = (
                |i: usize| left.range(..i).count(),
                |i: usize| right.range(..i).count(),
            );
            let position = |i: usize| match i.checked_sub(of_left) {
                None => on_left(i),
                Some(i) => left.len() + on_right(i),
            };
            let join = Join {
                kind: join.kind,
                keys: join
                    .keys
                    .iter()
                    .map(|key| JoinKey {
                        left: on_left(key.left),
                        right: on_right(key.right),
                        ..*key
                    })
                    .collect(),
                condition: join.condition.as_ref().map(|c| remap(c, &position)),
                interval: join.interval.map(|interval| IntervalBounds {
                    left_time: on_left(interval.left_time),
                    right_time: on_right(interval.right_time),
                    ..interval
                }),
                state_ttl: join.state_ttl,
                window: join
                    .window
                    .map(|[l, r]| [moved(l, &on_left), moved(r, &on_right)]),
            };
            let pruned_right = prune(rel.inputs.remove(1), &right);
            let pruned_left = prune(rel.inputs.remove(0), &left);
            let columns: Vec<usize> = required.iter().map(|&i| position(i)).collect();
            let join = Rel::join(pruned_left, pruned_right, join);
            return some_columns(join, columns.into_iter());
        }
        // Made later, with what they need only.
        Op::Scan { .. } | Op::Watermark { .. } | Op::ChangelogNormalize { .. } | Op::DropUpdateBefore => {
            return rel;
        }
    }
    rel.output = kept;
    rel
}

/// Gives a top-N's input one more column with the row numbers of a top-N below, where only columns are chosen
/// between the two: Flink makes one projection of what is chosen and of the upper number, so that the lower one is
/// still there when it looks who reads it.
fn number_below(input: &mut Rel) {
    let rel = match &input.op {
        Op::Calc { projection, .. } if projection.iter().all(|e| matches!(e, Expr::Column { .. })) => {
            &mut input.inputs[0]
        }
        _ => &mut *input,
    };
    let Op::Rank(rank) = &rel.op else {
        return;
    };
    if rank.with_number || rank.start == rank.end || rank.window.is_some() {
        return;
    }
    let rank = Rank {
        with_number: true,
        ..rank.clone()
    };
    *rel = Rel::rank(rel.inputs.remove(0), rank);
    let number = rel.output.fields.len() - 1;
    let field = rel.output.fields[number].clone();
    if let Op::Calc { projection, .. } = &mut input.op {
        projection.push(Expr::column(number, field.data_type.clone()));
        input.output.fields.push(field);
    }
}

/// Columns of a top-N's input that are the row numbers of a top-N below: they stay though nobody reads them, as
/// in Flink, and where a number changes its row goes out anew.
fn numbers(input: &Rel) -> Vec<usize> {
    let below = match &input.op {
        Op::Calc { .. } => &input.inputs[0],
        _ => input,
    };
    let Op::Rank(Rank {
        with_number: true, ..
    }) = &below.op
    else {
        return Vec::new();
    };
    let number = below.output.fields.len() - 1;
    let Op::Calc { projection, .. } = &input.op else {
        return vec![number];
    };
    let is_number = |e: &Expr| matches!(e, Expr::Column { index, .. } if *index == number);
    (0..projection.len())
        .filter(|i| is_number(&projection[*i]))
        .collect()
}

fn moved(window: WindowColumns, position: &impl Fn(usize) -> usize) -> WindowColumns {
    WindowColumns {
        start: position(window.start),
        end: position(window.end),
        ..window
    }
}

fn at(order: &[SortKey], position: &impl Fn(usize) -> usize) -> Vec<SortKey> {
    let key = |key: &SortKey| SortKey {
        column: position(key.column),
        ..key.clone()
    };
    order.iter().map(key).collect()
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
pub(crate) fn cheapest(rel: &Rel) -> usize {
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
