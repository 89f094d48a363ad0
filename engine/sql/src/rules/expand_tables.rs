//! A table becomes its source, its watermark, and a Calc for computed and metadata columns.
//!
//! All readers of a table with the same options get the same source, with the union of what they
//! read: their plans are equal up to the Calc that picks each reader's columns, and equal plans
//! become one when the graph is made.
//!
//! A source whose changelog is not whole by itself has a ChangelogNormalize behind it, over its key.
//!
//! The watermark stands directly behind the source if its column is one of the source's; its
//! expression is then rewritten over the source's columns. If the column is computed, a Calc that
//! adds it (and filters nothing) stands between.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_core::Result;
use millrace_expr::{Expr, cast};

use super::expressions::add_columns;
use crate::plan::{Op, Origin, ReadTable, Rel, ScanColumn};

pub(super) fn apply(queries: Vec<Rel>) -> Result<Vec<Rel>> {
    // Tables by what they are, with the declared columns that anybody reads.
    let mut used: Vec<(Arc<ReadTable>, BTreeSet<usize>)> = Vec::new();
    for query in &queries {
        collect(query, &mut used);
    }
    let expanded = used
        .into_iter()
        .map(|(t, columns)| Expanded::new(t, &columns))
        .collect::<Result<Vec<_>>>()?;
    Ok(queries.into_iter().map(|q| replace(q, &expanded)).collect())
}

fn collect(rel: &Rel, used: &mut Vec<(Arc<ReadTable>, BTreeSet<usize>)>) {
    if let Op::Table { table, columns } = &rel.op {
        let found = match used.iter().position(|(t, _)| t == table) {
            Some(i) => i,
            None => {
                used.push((table.clone(), BTreeSet::new()));
                used.len() - 1
            }
        };
        used[found].1.extend(columns);
    }
    rel.inputs.iter().for_each(|input| collect(input, used));
}

fn replace(rel: Rel, expanded: &[Expanded]) -> Rel {
    if let Op::Table { table, columns } = &rel.op
        && let Some(e) = expanded.iter().find(|e| e.table == *table)
    {
        let names = columns.iter().map(|&i| table.columns[i].name.clone()).collect();
        let projection = columns.iter().filter_map(|&i| e.columns[i].clone()).collect();
        return Rel::calc(e.stream.clone(), None, projection, names);
    }
    rel.map_inputs(&mut |input| replace(input, expanded))
}

struct Expanded {
    table: Arc<ReadTable>,
    /// The source, and the watermark if there is one.
    stream: Rel,
    /// The table's declared columns over the stream, as far as they are used.
    columns: Vec<Option<Expr>>,
}

impl Expanded {
    fn new(table: Arc<ReadTable>, used: &BTreeSet<usize>) -> Result<Self> {
        let mut needed = used.clone();
        if let Some((column, expression)) = &table.watermark {
            needed.insert(*column);
            add_columns(expression, &mut needed);
        }
        let key: Vec<usize> = table.primary_key();
        if table.normalizes {
            needed.extend(&key);
        }
        let mut scanned = BTreeSet::new();
        for &i in &needed {
            match &table.columns[i].origin {
                Origin::Computed(expr) => {
                    let mut below = BTreeSet::new();
                    add_columns(expr, &mut below);
                    scanned.extend(below.into_iter().filter_map(|c| scan_column(&table, c)));
                }
                _ => scanned.extend(scan_column(&table, i)),
            }
        }
        let scanned: Vec<ScanColumn> = scanned.into_iter().collect();
        let mut columns = vec![None; table.columns.len()];
        for i in 0..table.columns.len() {
            if !matches!(table.columns[i].origin, Origin::Computed(_)) {
                columns[i] = read(&table, &scanned, i)?;
            }
        }
        for &i in &needed {
            if let Origin::Computed(expr) = &table.columns[i].origin {
                columns[i] = Some(substitute(expr, &columns));
            }
        }
        let scan = Rel::scan(table.clone(), scanned);
        let stream = match &table.watermark {
            None => scan,
            Some((column, expression)) => watermark(scan, *column, expression, &table, &mut columns),
        };
        let stream = match table.normalizes {
            false => stream,
            true => {
                let places = key.iter().filter_map(|&c| match columns[c] {
                    Some(Expr::Column { index, .. }) => Some(index),
                    _ => None,
                });
                Rel::changelog_normalize(stream, places.collect(), None)
            }
        };
        Ok(Expanded {
            table,
            stream,
            columns,
        })
    }
}

fn watermark(
    scan: Rel,
    column: usize,
    expression: &Expr,
    table: &ReadTable,
    columns: &mut [Option<Expr>],
) -> Rel {
    if let Some(Expr::Column { index, .. }) = columns[column] {
        return Rel::watermark(scan, index, substitute(expression, columns));
    }
    let mut projection = Rel::identity(&scan.output);
    let mut names = scan.output.names();
    let index = projection.len();
    let data_type = table.columns[column].data_type.clone();
    projection.extend(columns[column].replace(Expr::column(index, data_type)));
    names.push(table.columns[column].name.clone());
    let input = Rel::calc(scan, None, projection, names);
    Rel::watermark(input, index, substitute(expression, columns))
}

fn scan_column(table: &ReadTable, column: usize) -> Option<ScanColumn> {
    match table.columns[column].origin {
        Origin::Physical(i) => Some(ScanColumn::Physical(i)),
        Origin::Metadata(i) => Some(ScanColumn::Metadata(i)),
        Origin::Computed(_) => None,
    }
}

/// A physical or metadata column over the source's stream, in its declared type.
fn read(table: &ReadTable, scanned: &[ScanColumn], column: usize) -> Result<Option<Expr>> {
    let Some(scan) = scan_column(table, column) else {
        return Ok(None);
    };
    let Ok(position) = scanned.binary_search(&scan) else {
        return Ok(None);
    };
    let declared = &table.columns[column].data_type;
    Ok(Some(match scan {
        ScanColumn::Physical(_) => Expr::column(position, declared.clone()),
        ScanColumn::Metadata(i) => {
            let given = Expr::column(position, table.metadata[i].data_type.clone());
            if given.data_type() == declared {
                given
            } else {
                cast::cast(given, declared.clone())?
            }
        }
    }))
}

/// Puts the declared columns' expressions in their places.
fn substitute(expr: &Expr, columns: &[Option<Expr>]) -> Expr {
    expr.map_columns(&|i, data_type| match columns.get(i) {
        Some(Some(e)) => e.clone(),
        _ => Expr::column(i, data_type.clone()),
    })
}
