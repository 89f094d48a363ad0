//! Upsert keys: columns by which the rows of a changelog are known. Of all rows with the same key the
//! last one counts, and all of them pass through one subtask, in order.

use std::collections::BTreeSet;

use millrace_expr::Expr;

use crate::plan::{Join, Op, Rank, Rel, ScanColumn};

pub(crate) type KeySet = BTreeSet<usize>;

/// The keys of a plan's rows, by column.
pub(crate) fn of(rel: &Rel) -> Vec<KeySet> {
    match &rel.op {
        Op::Calc { projection, .. } => {
            let below = of(&rel.inputs[0]);
            // A column may be there more than once: the first one is taken.
            let place = |column: usize| {
                projection
                    .iter()
                    .position(|e| matches!(e, Expr::Column { index, .. } if *index == column))
            };
            below
                .iter()
                .filter_map(|key| key.iter().map(|c| place(*c)).collect())
                .collect()
        }
        Op::Watermark { .. } | Op::DropUpdateBefore => of(&rel.inputs[0]),
        Op::ChangelogNormalize { keys, .. } => vec![keys.iter().copied().collect()],
        // Its PRIMARY KEY, if all of it is read.
        Op::Scan { table, columns } => {
            let place = |name: &String| {
                let physical = table.spec.columns.iter().position(|c| c.name == *name)?;
                columns.iter().position(|c| *c == ScanColumn::Physical(physical))
            };
            let key: Option<KeySet> = table.spec.primary_key.iter().map(place).collect();
            key.filter(|key| !key.is_empty()).into_iter().collect()
        }
        Op::WindowAggregate(spec) => {
            let start = spec.keys.len() + spec.calls.len();
            vec![(0..spec.keys.len()).chain([start, start + 1]).collect()]
        }
        Op::Aggregate { keys, .. } => vec![(0..keys.len()).collect()],
        Op::Over(_) => of(&rel.inputs[0]),
        Op::Rank(rank) => of_rank(rel, rank),
        Op::Join(join) => of_join(rel, join),
        Op::Union | Op::WindowTable(_) | Op::Expand(_) | Op::Table { .. } | Op::Values { .. } => Vec::new(),
    }
}

/// Keys that hold the columns by which rows are spread: those whose rows stay in one subtask.
pub(crate) fn within(rel: &Rel, columns: &[usize]) -> Vec<KeySet> {
    let mut keys = of(rel);
    keys.retain(|key| columns.iter().all(|c| key.contains(c)));
    keys
}

fn of_rank(rel: &Rel, rank: &Rank) -> Vec<KeySet> {
    let partition: KeySet = rank.partition.iter().copied().collect();
    let mut keys = Vec::new();
    let mut add = |key: KeySet| {
        if !keys.contains(&key) {
            keys.push(key);
        }
    };
    if rank.with_number {
        let mut key = partition.clone();
        key.insert(rel.output.fields.len() - 1);
        add(key);
    }
    if rank.start == rank.end {
        add(partition);
    }
    within(&rel.inputs[0], &rank.partition).into_iter().for_each(add);
    keys
}

fn of_join(rel: &Rel, join: &Join) -> Vec<KeySet> {
    let left_columns: Vec<usize> = join.keys.iter().map(|key| key.left).collect();
    let right_columns: Vec<usize> = join.keys.iter().map(|key| key.right).collect();
    let left = within(&rel.inputs[0], &left_columns);
    if join.kind.is_left_only() {
        return left;
    }
    let of_left = rel.inputs[0].output.fields.len();
    let right = within(&rel.inputs[1], &right_columns);
    let is_unique =
        |keys: &[KeySet], columns: &[usize]| keys.iter().any(|key| key.iter().all(|c| columns.contains(c)));
    let shifted = |key: &KeySet| key.iter().map(|c| of_left + c).collect::<KeySet>();
    let mut keys: Vec<KeySet> = Vec::new();
    for of_right in &right {
        for of_left in &left {
            keys.push(of_left.union(&shifted(of_right)).copied().collect());
        }
    }
    if is_unique(&right, &right_columns) && !join.kind.keeps_right() {
        keys.extend(left.iter().cloned());
    }
    if is_unique(&left, &left_columns) && !join.kind.keeps_left() {
        keys.extend(right.iter().map(shifted));
    }
    keys.sort();
    keys.dedup();
    keys
}
