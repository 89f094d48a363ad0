//! Whether no two rows are equal in some columns, as Flink's optimizer knows it where it removes aggregations
//! (`FlinkRelMdColumnUniqueness`). Not the keys of a changelog (`upsert_keys`): there a top-N is still a filter
//! over row numbers, and a column of one value is that value.

use std::collections::BTreeMap;

use millrace_dataflow::WindowColumns;
use millrace_expr::{DataType, Expr, TypeKind};

use super::expressions::{conjuncts, is_deterministic, reads};
use crate::plan::{Join, Op, Rel, ScanColumn};
use crate::upsert_keys::KeySet;

/// Columns that have one value in all rows. `true`: the value stands in their place, so that nothing is grouped
/// by them; a value that has to be cast to a type with NULL does not.
type Constants = BTreeMap<usize, bool>;

pub(super) fn is_unique(rel: &Rel, columns: &KeySet) -> bool {
    unique(rel, columns, &Constants::new())
}

/// `filtered` are constants by filters above `rel`, which Flink has pushed below it.
fn unique(rel: &Rel, columns: &KeySet, filtered: &Constants) -> bool {
    let input = rel.inputs.first();
    let below = |columns: &KeySet| input.is_some_and(|i| unique(i, columns, &Constants::new()));
    match &rel.op {
        Op::Calc {
            condition,
            projection,
        } => input.is_some_and(|input| of_calc(input, condition.as_ref(), projection, columns, filtered)),
        Op::ChangelogNormalize { .. } | Op::DropUpdateBefore | Op::Watermark { .. } => below(columns),
        // Flink knows of no PRIMARY KEY behind a WATERMARK.
        Op::Scan { table, columns: read } => {
            let place = |name: &String| {
                let physical = table.spec.columns.iter().position(|c| c.name == *name)?;
                read.iter().position(|c| *c == ScanColumn::Physical(physical))
            };
            let is_given = |name| place(name).is_some_and(|c| columns.contains(&c));
            let key = &table.spec.primary_key;
            !key.is_empty() && table.watermark.is_none() && key.iter().all(is_given)
        }
        Op::Aggregate { keys, .. } => {
            let below = constant_keys(rel, keys);
            let is_constant = |c: &usize| {
                below.get(c) == Some(&true)
                    || filtered.get(c) == Some(&true) && is_read(&rel.inputs[0], keys[*c])
            };
            let mut grouped: KeySet = (0..keys.len()).filter(|c| !is_constant(c)).collect();
            // Where all are constant, the first one stays.
            if grouped.is_empty() && !keys.is_empty() {
                grouped.insert(0);
            }
            grouped.is_subset(columns)
        }
        Op::WindowAggregate(spec) => {
            let start = spec.keys.len() + spec.calls.len();
            let mut key = (0..spec.keys.len()).chain([start, start + 1]);
            key.all(|c| columns.contains(&c))
        }
        Op::Expand(expansions) => {
            let id = rel.output.fields.len() - 1;
            let is_kept = |c: &usize| *c != id && expansions.iter().all(|e| !e.nulls.contains(c));
            let kept: KeySet = columns.iter().copied().filter(is_kept).collect();
            columns.contains(&id) && !kept.is_empty() && below(&kept)
        }
        // Without what is computed: of a row number nothing is known yet.
        Op::Over(_) | Op::Rank(_) => {
            let of_input = input.map_or(0, |i| i.output.fields.len());
            below(&columns.range(..of_input).copied().collect())
        }
        Op::Join(join) => of_join(rel, join, columns),
        Op::Union | Op::WindowTable(_) | Op::Table { .. } | Op::Values { .. } => false,
    }
}

/// Whether a filter on the column says, below, that a column has one value, and not that something computed has.
fn is_read(rel: &Rel, column: usize) -> bool {
    match &rel.op {
        Op::Calc { projection, .. } => matches!(projection.get(column), Some(Expr::Column { .. })),
        _ => true,
    }
}

/// All columns of a table, of which nothing was projected away.
fn is_whole_table(rel: &Rel) -> bool {
    match &rel.op {
        Op::Scan { table, columns } => columns.len() == table.columns.len(),
        Op::ChangelogNormalize { .. } => is_whole_table(&rel.inputs[0]),
        _ => false,
    }
}

fn of_calc(
    input: &Rel,
    condition: Option<&Expr>,
    projection: &[Expr],
    columns: &KeySet,
    filtered: &Constants,
) -> bool {
    let source = |column: &usize| match projection.get(*column) {
        Some(Expr::Column { index, .. }) => Some(*index),
        _ => None,
    };
    // A filter alone puts no value in a column's place.
    let is_filter = condition.is_none() || is_whole_table(input);
    let of_input = input.output.fields.len();
    if is_filter && projection.len() == of_input && (0..of_input).all(|c| source(&c) == Some(c)) {
        return unique(input, columns, filtered);
    }
    let pairs = filtered.iter();
    let mut by_filter: Constants = pairs
        .filter_map(|(c, exact)| Some((source(c)?, *exact)))
        .collect();
    by_filter.extend(condition.map(constants_by).unwrap_or_default());
    let mut constants = constants(input);
    constants.extend(&by_filter);
    let read = columns.iter().filter_map(source);
    let read: KeySet = read.filter(|c| !constants.contains_key(c)).collect();
    !read.is_empty() && unique(input, &read, &by_filter)
}

fn of_join(rel: &Rel, join: &Join, columns: &KeySet) -> bool {
    let [left, right] = rel.inputs.as_slice() else {
        return false;
    };
    let none = Constants::new();
    if join.kind.is_left_only() {
        return unique(left, columns, &none);
    }
    let of_left = left.output.fields.len();
    let of_all = constants(rel);
    let read = |c: &&usize| !of_all.contains_key(c);
    let left_columns: KeySet = columns.range(..of_left).filter(read).copied().collect();
    let right_columns: KeySet = columns
        .range(of_left..)
        .filter(read)
        .map(|c| c - of_left)
        .collect();
    let (left_keys, right_keys) = equal_columns(join, &constants(left), &constants(right));
    match (left_columns.is_empty(), right_columns.is_empty()) {
        (true, true) => false,
        (false, false) => unique(left, &left_columns, &none) && unique(right, &right_columns, &none),
        (false, true) => {
            !join.kind.keeps_right()
                && unique(right, &right_keys, &none)
                && unique(left, &left_columns, &none)
        }
        (true, false) => {
            !join.kind.keeps_left() && unique(left, &left_keys, &none) && unique(right, &right_columns, &none)
        }
    }
}

/// The columns of each side that must be equal. Where one is a constant the other one is compared with that, by a
/// filter.
fn equal_columns(join: &Join, left: &Constants, right: &Constants) -> (KeySet, KeySet) {
    let bounds = |of: &WindowColumns| [of.start, of.end];
    let windows = join.window.iter();
    let windows = windows.flat_map(|[l, r]| bounds(l).into_iter().zip(bounds(r)));
    let keys = join.keys.iter().map(|key| (key.left, key.right));
    keys.filter(|(l, r)| !left.contains_key(l) && !right.contains_key(r))
        .chain(windows)
        .unzip()
}

/// The columns of a plan's rows that have one value.
fn constants(rel: &Rel) -> Constants {
    match &rel.op {
        Op::Calc {
            condition,
            projection,
        } => {
            let mut below = constants(&rel.inputs[0]);
            below.extend(condition.as_ref().map(constants_by).unwrap_or_default());
            let value = |expr: &Expr| match expr {
                Expr::Column { index, .. } => below.get(index).copied(),
                Expr::Literal { .. } => Some(true),
                _ => None,
            };
            let projection = projection.iter().enumerate();
            projection
                .filter_map(|(c, expr)| Some((c, value(expr)?)))
                .collect()
        }
        Op::Aggregate { keys, .. } => constant_keys(rel, keys),
        Op::ChangelogNormalize { condition, .. } => {
            let mut constants = constants(&rel.inputs[0]);
            constants.extend(condition.as_ref().map(constants_by).unwrap_or_default());
            constants
        }
        Op::Watermark { .. } | Op::DropUpdateBefore | Op::Over(_) | Op::Rank(_) => constants(&rel.inputs[0]),
        Op::Join(join) => constants_of_join(rel, join),
        Op::Scan { .. }
        | Op::Table { .. }
        | Op::Values { .. }
        | Op::Union
        | Op::WindowTable(_)
        | Op::WindowAggregate(_)
        | Op::Expand(_) => Constants::new(),
    }
}

/// Of an aggregation.
fn constant_keys(rel: &Rel, keys: &[usize]) -> Constants {
    let below = constants(&rel.inputs[0]);
    let keys = keys.iter().enumerate();
    keys.filter_map(|(c, key)| Some((c, *below.get(key)?))).collect()
}

/// A side that is filled with nulls has none; what is equal to a constant is one.
fn constants_of_join(rel: &Rel, join: &Join) -> Constants {
    let of_left = rel.inputs[0].output.fields.len();
    let mut constants = match join.kind.keeps_right() {
        true => Constants::new(),
        false => self::constants(&rel.inputs[0]),
    };
    if !join.kind.is_left_only() && !join.kind.keeps_left() {
        let right = self::constants(&rel.inputs[1]);
        constants.extend(right.into_iter().map(|(c, exact)| (of_left + c, exact)));
    }
    if !join.kind.is_left_only() && !join.kind.keeps_left() && !join.kind.keeps_right() {
        for key in &join.keys {
            let (left, right) = (key.left, of_left + key.right);
            match (constants.get(&left).copied(), constants.get(&right).copied()) {
                (Some(exact), None) => constants.insert(right, exact),
                (None, Some(exact)) => constants.insert(left, exact),
                _ => None,
            };
        }
    }
    constants
}

/// The columns that a filter leaves one value.
fn constants_by(condition: &Expr) -> Constants {
    let parts = conjuncts(condition.clone());
    parts.iter().filter_map(constant_by).collect()
}

fn constant_by(condition: &Expr) -> Option<(usize, bool)> {
    let Expr::Call { function, args, .. } = condition else {
        return None;
    };
    let is_value = |expr: &Expr| reads(expr).is_empty() && is_deterministic(expr);
    let (expr, is_null) = match (function.as_str(), args.as_slice()) {
        ("=", [expr, value]) | ("=", [value, expr]) | ("IN", [expr, value]) if is_value(value) => {
            (expr, false)
        }
        ("IS NULL", [expr]) => (expr, true),
        _ => return None,
    };
    let column = match expr {
        Expr::Cast {
            expr: inner,
            data_type,
            ..
        } if is_widened(inner.data_type(), data_type) => inner,
        other => other,
    };
    match column {
        // Zero has two signs, and is equal to both.
        Expr::Column { data_type, .. } if matches!(data_type.kind, TypeKind::Float | TypeKind::Double) => {
            None
        }
        Expr::Column { index, data_type } => Some((*index, is_null || !data_type.nullable)),
        _ => None,
    }
}

/// Between integers, where nothing is cut off.
fn is_widened(from: &DataType, to: &DataType) -> bool {
    use TypeKind::{BigInt, Int, SmallInt, TinyInt};
    let width = |data_type: &DataType| {
        [TinyInt, SmallInt, Int, BigInt]
            .iter()
            .position(|k| *k == data_type.kind)
    };
    matches!((width(from), width(to)), (Some(from), Some(to)) if from <= to)
}
