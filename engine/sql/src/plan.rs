//! A bound query: relational operators over typed expressions, before it becomes a graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_connector_api::source::SourceTraits;
use millrace_dataflow::{SinkSpec, TableSpec};
use millrace_expr::{DataType, Expr, Field, RowType};

/// A table as a query reads it: declared columns, hints merged, checked by its connector.
#[derive(Debug, PartialEq)]
pub(crate) struct ReadTable {
    pub spec: TableSpec,
    /// The options that hints gave another value than the table has.
    pub hints: BTreeMap<String, String>,
    /// All columns in declared order.
    pub columns: Vec<ReadColumn>,
    /// A column by index, and an expression over the declared columns.
    pub watermark: Option<(usize, Expr)>,
    /// What the connector gives for each of `spec.metadata`: key and type.
    pub metadata: Vec<Field>,
    pub traits: SourceTraits,
}

#[derive(Debug, PartialEq)]
pub(crate) struct ReadColumn {
    pub name: String,
    pub data_type: DataType,
    pub origin: Origin,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Origin {
    /// Index into the table's physical columns.
    Physical(usize),
    /// Index into the table's metadata columns.
    Metadata(usize),
    /// Over the declared columns, none of them computed.
    Computed(Expr),
}

/// A column of a source's own stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ScanColumn {
    Physical(usize),
    Metadata(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rel {
    /// Declared columns of a table, by index and ascending; expanded by `rules::expand_tables`.
    Table {
        table: Arc<ReadTable>,
        columns: Vec<usize>,
    },
    /// What the connector itself gives, ascending.
    Scan {
        table: Arc<ReadTable>,
        columns: Vec<ScanColumn>,
    },
    /// Filter, then projection.
    Calc {
        input: Box<Rel>,
        condition: Option<Expr>,
        projection: Vec<Expr>,
        names: Vec<String>,
    },
    Watermark {
        input: Box<Rel>,
        column: usize,
        expression: Expr,
    },
    /// UNION ALL of inputs of the same types.
    Union {
        inputs: Vec<Rel>,
        output: RowType,
    },
    Values {
        rows: Vec<Vec<Expr>>,
        output: RowType,
    },
}

impl Rel {
    pub fn output(&self) -> RowType {
        match self {
            Rel::Table { table, columns } => RowType::new(
                columns
                    .iter()
                    .map(|&i| Field::new(&table.columns[i].name, table.columns[i].data_type.clone()))
                    .collect(),
            ),
            Rel::Scan { table, columns } => RowType::new(
                columns
                    .iter()
                    .map(|c| match *c {
                        ScanColumn::Physical(i) => table.spec.columns[i].clone(),
                        ScanColumn::Metadata(i) => Field::new(
                            format!("$metadata.{}", table.metadata[i].name),
                            table.metadata[i].data_type.clone(),
                        ),
                    })
                    .collect(),
            ),
            Rel::Calc {
                projection, names, ..
            } => RowType::new(
                names
                    .iter()
                    .zip(projection)
                    .map(|(n, e)| Field::new(n, e.data_type().clone()))
                    .collect(),
            ),
            Rel::Watermark { input, .. } => input.output(),
            Rel::Union { output, .. } | Rel::Values { output, .. } => output.clone(),
        }
    }

    /// Whether a column still is the time attribute of a table that it was read as.
    pub fn time_attribute(&self, column: usize) -> Option<TimeAttribute> {
        match self {
            Rel::Table { table, columns } => {
                let index = *columns.get(column)?;
                if table
                    .watermark
                    .as_ref()
                    .is_some_and(|(rowtime, _)| *rowtime == index)
                {
                    return Some(TimeAttribute::Rowtime);
                }
                match &table.columns[index].origin {
                    Origin::Computed(expr) => TimeAttribute::of(expr),
                    _ => None,
                }
            }
            Rel::Calc {
                input, projection, ..
            } => match projection.get(column)? {
                Expr::Column { index, .. } => input.time_attribute(*index),
                expr => TimeAttribute::of(expr),
            },
            Rel::Union { inputs, .. } => {
                let first = inputs.first()?.time_attribute(column)?;
                let same = inputs.iter().all(|i| i.time_attribute(column) == Some(first));
                same.then_some(first)
            }
            Rel::Watermark { .. } | Rel::Scan { .. } | Rel::Values { .. } => None,
        }
    }

    /// Rewrites the inputs of this operator.
    pub fn map_inputs(self, f: &mut impl FnMut(Rel) -> Rel) -> Rel {
        match self {
            Rel::Calc {
                input,
                condition,
                projection,
                names,
            } => Rel::Calc {
                input: Box::new(f(*input)),
                condition,
                projection,
                names,
            },
            Rel::Watermark {
                input,
                column,
                expression,
            } => Rel::Watermark {
                input: Box::new(f(*input)),
                column,
                expression,
            },
            Rel::Union { inputs, output } => Rel::Union {
                inputs: inputs.into_iter().map(f).collect(),
                output,
            },
            leaf @ (Rel::Table { .. } | Rel::Scan { .. } | Rel::Values { .. }) => leaf,
        }
    }

    /// Columns `0..n` as they are.
    pub fn identity(row: &RowType) -> Vec<Expr> {
        row.fields
            .iter()
            .enumerate()
            .map(|(i, f)| Expr::column(i, f.data_type.clone()))
            .collect()
    }
}

/// What makes a column a clock of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeAttribute {
    Rowtime,
    Proctime,
}

impl TimeAttribute {
    /// That of a computed column.
    pub fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Call { function, .. } if function == "PROCTIME" => Some(TimeAttribute::Proctime),
            _ => None,
        }
    }
}

/// A bound INSERT.
#[derive(Debug, Clone)]
pub(crate) struct InsertPlan {
    /// Gives exactly the sink's columns, except that they may be null where the sink's may not.
    pub query: Rel,
    pub sink: SinkSpec,
    pub parallelism: Option<usize>,
    /// Columns by index in which a null has to be caught, and whether its row is dropped.
    pub not_null: Vec<usize>,
    pub drop: bool,
    /// The query as it is written, with one space where there is any.
    pub text: String,
}
