//! Columns that nobody reads are not produced: in the end, a source gives what is used of it.

use std::collections::BTreeSet;

use millrace_expr::{Expr, RowType, TypeKind};

use super::expressions::{add_columns, remap};
use crate::plan::{Origin, ReadTable, Rel};

pub(super) fn apply(rel: Rel) -> Rel {
    let all: BTreeSet<usize> = (0..rel.output().fields.len()).collect();
    prune(rel, &all)
}

/// Gives exactly the `required` columns in ascending order; they are never none, for a batch
/// without columns has no rows to count.
fn prune(rel: Rel, required: &BTreeSet<usize>) -> Rel {
    match rel {
        Rel::Table { table, columns } => Rel::Table {
            table,
            columns: required.iter().map(|&i| columns[i]).collect(),
        },
        Rel::Calc {
            input,
            condition,
            projection,
            names,
        } => {
            let mut used = BTreeSet::new();
            let kept: Vec<Expr> = required.iter().map(|&i| projection[i].clone()).collect();
            kept.iter()
                .chain(&condition)
                .for_each(|e| add_columns(e, &mut used));
            if used.is_empty() {
                used.insert(cheapest(&input));
            }
            let position = |i: usize| used.range(..i).count();
            Rel::Calc {
                condition: condition.map(|c| remap(&c, &position)),
                projection: kept.iter().map(|e| remap(e, &position)).collect(),
                names: required.iter().map(|&i| names[i].clone()).collect(),
                input: Box::new(prune(*input, &used)),
            }
        }
        Rel::Union { inputs, output } => Rel::Union {
            inputs: inputs.into_iter().map(|input| prune(input, required)).collect(),
            output: RowType::new(required.iter().map(|&i| output.fields[i].clone()).collect()),
        },
        Rel::Values { rows, output } => Rel::Values {
            rows: rows
                .into_iter()
                .map(|row| required.iter().map(|&i| row[i].clone()).collect())
                .collect(),
            output: RowType::new(required.iter().map(|&i| output.fields[i].clone()).collect()),
        },
        // Made later, with what they need only.
        made @ (Rel::Scan { .. } | Rel::Watermark { .. }) => made,
    }
}

/// The column to read where only the number of rows counts: of fixed width, if there is one.
fn cheapest(rel: &Rel) -> usize {
    let Rel::Table { table, columns } = rel else {
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
