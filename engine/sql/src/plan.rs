//! A bound query: relational operators over typed expressions, before it becomes a graph. What its columns
//! say of windows is in `window_properties`.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_connector_api::sink::SinkChangelog;
use millrace_connector_api::source::SourceTraits;
pub(crate) use millrace_dataflow::Expansion;
use millrace_dataflow::{
    Changelog, Frame, IntervalBounds, JoinKey, JoinKind, OverCall, SinkSpec, SortKey, TableSpec, TimeKind,
    Window, WindowColumns, Windowing,
};
use millrace_expr::aggregate::AggregateCall;
use millrace_expr::{DataType, Expr, Field, RowType, TypeKind};

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
    /// Its rows are made a changelog by their key first.
    pub normalizes: bool,
}

impl ReadTable {
    /// The declared columns of the PRIMARY KEY, by index.
    pub fn primary_key(&self) -> Vec<usize> {
        let place = |name: &String| self.columns.iter().position(|c| c.name == *name);
        self.spec.primary_key.iter().filter_map(place).collect()
    }
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

/// A relational operator over its inputs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rel {
    pub op: Op,
    pub inputs: Vec<Rel>,
    pub output: RowType,
    /// The kinds of rows that it sends on; inferred last (`rules::changelog`).
    pub changelog: Changelog,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
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
        condition: Option<Expr>,
        projection: Vec<Expr>,
    },
    Watermark {
        column: usize,
        expression: Expr,
    },
    /// A changelog that may repeat itself, or has only the newest row of each key, made one of all
    /// kinds, of the rows that pass the condition. `keys` are the columns of the key.
    ChangelogNormalize {
        keys: Vec<usize>,
        condition: Option<Expr>,
    },
    /// An update's row as it was before goes, for nobody needs it.
    DropUpdateBefore,
    /// UNION ALL of inputs of the same types.
    Union,
    Values {
        rows: Vec<Vec<Expr>>,
    },
    /// Each row in each of its windows: its columns, then `window_start`, `window_end`, `window_time`.
    WindowTable(WindowTable),
    /// GROUP BY with a window: the output is the keys, the calls' results, then `window_start`,
    /// `window_end`, `window_time`.
    WindowAggregate(WindowAggregate),
    /// Each row once for each of these: its columns, some of them null, then the number `$e`.
    Expand(Vec<Expansion>),
    /// GROUP BY: the output is the keys, which are columns of the input, then the calls' results.
    Aggregate {
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
        /// How long groups live since they changed last, in milliseconds, where a hint says so; 0: for ever.
        state_ttl: Option<i64>,
    },
    /// Functions over windows that end with each row: the input's columns, then the results.
    Over(Over),
    /// Rows by their number in a partition; made by `rules::rank`.
    Rank(Rank),
    /// The left columns, then the right ones, except for SEMI and ANTI.
    Join(Join),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Over {
    pub partition: Vec<usize>,
    pub order: Vec<SortKey>,
    pub frame: Frame,
    pub calls: Vec<OverCall>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rank {
    pub partition: Vec<usize>,
    pub order: Vec<SortKey>,
    /// The first row number that passes, from 1, and the last.
    pub start: u64,
    pub end: u64,
    /// The row number is the last column.
    pub with_number: bool,
    /// Its partitions are within windows, and its rows are given when those are over.
    pub window: Option<WindowColumns>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Join {
    pub kind: JoinKind,
    /// Found by `rules::joins`.
    pub keys: Vec<JoinKey>,
    /// Over the left columns, then the right ones.
    pub condition: Option<Expr>,
    /// Of rows whose times are near to one another.
    pub interval: Option<IntervalBounds>,
    /// How long rows of each side live, in milliseconds, where a hint says so; 0: for ever.
    pub state_ttl: [Option<i64>; 2],
    /// Of rows of the same window: how the left and the right ones say theirs.
    pub window: Option<[WindowColumns; 2]>,
}

/// A window function over a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WindowTable {
    pub window: Window,
    /// The time attribute that decides.
    pub time: usize,
    pub is_proctime: bool,
    /// Of sessions: the columns of which each has its own.
    pub partition: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WindowAggregate {
    pub windowing: Windowing,
    /// The type of the window's time.
    pub time: TypeKind,
    /// Columns of the input, by index, beside the window.
    pub keys: Vec<usize>,
    pub calls: Vec<AggregateCall>,
}

impl WindowAggregate {
    pub fn window(&self) -> Window {
        match self.windowing {
            Windowing::Laid { window, .. } | Windowing::Given { window, .. } => window,
        }
    }

    pub fn is_proctime(&self) -> bool {
        match self.windowing {
            Windowing::Laid { time, .. } => time.is_none(),
            Windowing::Given { is_proctime, .. } => is_proctime,
        }
    }

    /// The columns that it reads.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        let windowing = match self.windowing {
            Windowing::Laid { time, .. } => [time, None],
            Windowing::Given { start, end, .. } => [Some(start), Some(end)],
        };
        let keys = self.keys.iter().copied();
        keys.chain(windowing.into_iter().flatten())
            .chain(self.calls.iter().flat_map(AggregateCall::columns))
    }

    /// The same where the input's columns are at other positions.
    pub fn remapped(self, position: &impl Fn(usize) -> usize) -> Self {
        WindowAggregate {
            windowing: match self.windowing {
                Windowing::Laid { window, time } => Windowing::Laid {
                    window,
                    time: time.map(position),
                },
                Windowing::Given {
                    window,
                    start,
                    end,
                    is_proctime,
                } => Windowing::Given {
                    window,
                    start: position(start),
                    end: position(end),
                    is_proctime,
                },
            },
            time: self.time,
            keys: self.keys.into_iter().map(position).collect(),
            calls: self
                .calls
                .into_iter()
                .map(|call| call.remapped(position))
                .collect(),
        }
    }
}

impl Rel {
    fn new(op: Op, inputs: Vec<Rel>, output: RowType) -> Rel {
        Rel {
            op,
            inputs,
            output,
            changelog: Changelog::INSERTS,
        }
    }

    pub fn table(table: Arc<ReadTable>, columns: Vec<usize>) -> Rel {
        let field = |&i: &usize| Field::new(&table.columns[i].name, table.columns[i].data_type.clone());
        let output = RowType::new(columns.iter().map(field).collect());
        Rel::new(Op::Table { table, columns }, vec![], output)
    }

    pub fn scan(table: Arc<ReadTable>, columns: Vec<ScanColumn>) -> Rel {
        let field = |column: &ScanColumn| match *column {
            ScanColumn::Physical(i) => table.spec.columns[i].clone(),
            ScanColumn::Metadata(i) => Field::new(
                format!("$metadata.{}", table.metadata[i].name),
                table.metadata[i].data_type.clone(),
            ),
        };
        let output = RowType::new(columns.iter().map(field).collect());
        Rel::new(Op::Scan { table, columns }, vec![], output)
    }

    /// A projection with the names of its columns.
    pub fn calc(input: Rel, condition: Option<Expr>, projection: Vec<Expr>, names: Vec<String>) -> Rel {
        let fields = names
            .iter()
            .zip(&projection)
            .map(|(name, expr)| Field::new(name, expr.data_type().clone()));
        let output = RowType::new(fields.collect());
        let op = Op::Calc {
            condition,
            projection,
        };
        Rel::new(op, vec![input], output)
    }

    /// Some rows of the input as they are.
    pub fn filter(input: Rel, condition: Expr) -> Rel {
        let projection = Rel::identity(&input.output);
        let names = input.output.names();
        Rel::calc(input, Some(condition), projection, names)
    }

    /// The same rows under other names.
    pub fn renamed(mut self, names: Vec<String>) -> Rel {
        if !matches!(self.op, Op::Calc { .. }) {
            let projection = Rel::identity(&self.output);
            return Rel::calc(self, None, projection, names);
        }
        for (field, name) in self.output.fields.iter_mut().zip(names) {
            field.name = name;
        }
        self
    }

    pub fn watermark(input: Rel, column: usize, expression: Expr) -> Rel {
        let output = input.output.clone();
        Rel::new(Op::Watermark { column, expression }, vec![input], output)
    }

    pub fn changelog_normalize(input: Rel, keys: Vec<usize>, condition: Option<Expr>) -> Rel {
        let output = input.output.clone();
        Rel::new(Op::ChangelogNormalize { keys, condition }, vec![input], output)
    }

    pub fn drop_update_before(input: Rel) -> Rel {
        let output = input.output.clone();
        let changelog = Changelog {
            before: false,
            ..input.changelog
        };
        Rel {
            changelog,
            ..Rel::new(Op::DropUpdateBefore, vec![input], output)
        }
    }

    pub fn union(inputs: Vec<Rel>, output: RowType) -> Rel {
        Rel::new(Op::Union, inputs, output)
    }

    pub fn values(rows: Vec<Vec<Expr>>, output: RowType) -> Rel {
        Rel::new(Op::Values { rows }, vec![], output)
    }

    /// No rows.
    pub fn empty(output: RowType) -> Rel {
        Rel::values(Vec::new(), output)
    }

    pub fn window_table(input: Rel, spec: WindowTable) -> Rel {
        let time = input.output.fields[spec.time].data_type.kind.clone();
        let mut output = input.output.clone();
        output.fields.extend(window_fields(time));
        Rel::new(Op::WindowTable(spec), vec![input], output)
    }

    /// Each row for each of the expansions, with a column more, which says for which.
    pub fn expand(input: Rel, expansions: Vec<Expansion>) -> Rel {
        let mut output = input.output.clone();
        for (index, field) in output.fields.iter_mut().enumerate() {
            field.data_type.nullable |= expansions.iter().any(|e| e.nulls.contains(&index));
        }
        let id = DataType::not_null(TypeKind::BigInt);
        output.fields.push(Field::new("$e", id));
        Rel::new(Op::Expand(expansions), vec![input], output)
    }

    /// `names` are those of the calls' results.
    pub fn window_aggregate(input: Rel, spec: WindowAggregate, names: Vec<String>) -> Rel {
        let of_keys = spec.keys.iter().map(|k| input.output.fields[*k].clone());
        let of_calls = spec.calls.iter().zip(names);
        let of_calls = of_calls.map(|(call, name)| Field::new(name, call.data_type.clone()));
        let fields = of_keys.chain(of_calls).chain(window_fields(spec.time.clone()));
        let output = RowType::new(fields.collect());
        Rel::new(Op::WindowAggregate(spec), vec![input], output)
    }

    /// `names` are those of the calls' results.
    pub fn aggregate(input: Rel, keys: Vec<usize>, calls: Vec<AggregateCall>, names: Vec<String>) -> Rel {
        let of_keys = keys.iter().map(|k| input.output.fields[*k].clone());
        let of_calls = calls
            .iter()
            .zip(names)
            .map(|(call, name)| Field::new(name, call.data_type.clone()));
        let output = RowType::new(of_keys.chain(of_calls).collect());
        let op = Op::Aggregate {
            keys,
            calls,
            state_ttl: None,
        };
        Rel::new(op, vec![input], output)
    }

    pub fn over(input: Rel, over: Over) -> Rel {
        let mut output = input.output.clone();
        let results = over.calls.iter().enumerate();
        output
            .fields
            .extend(results.map(|(i, c)| Field::new(format!("w0$o{i}"), c.data_type.clone())));
        Rel::new(Op::Over(over), vec![input], output)
    }

    pub fn rank(input: Rel, rank: Rank) -> Rel {
        let mut output = input.output.clone();
        if rank.with_number {
            let number = DataType::not_null(TypeKind::BigInt);
            output.fields.push(Field::new("w0$o0", number));
        }
        Rel::new(Op::Rank(rank), vec![input], output)
    }

    pub fn join(left: Rel, right: Rel, join: Join) -> Rel {
        let side = |rel: &Rel, padded: bool| {
            let field = |f: &Field| {
                let nullable = f.data_type.nullable || padded;
                Field::new(&f.name, f.data_type.clone().with_nullable(nullable))
            };
            rel.output.fields.iter().map(field).collect::<Vec<_>>()
        };
        let mut fields = side(&left, join.kind.keeps_right());
        if !join.kind.is_left_only() {
            fields.extend(side(&right, join.kind.keeps_left()));
        }
        Rel::new(Op::Join(join), vec![left, right], RowType::new(fields))
    }

    /// Whether a column still is the time attribute of a table that it was read as.
    pub fn time_attribute(&self, column: usize) -> Option<TimeAttribute> {
        match &self.op {
            Op::Table { table, columns } => {
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
            Op::Calc { projection, .. } => match projection.get(column)? {
                Expr::Column { index, .. } => self.inputs[0].time_attribute(*index),
                expr => TimeAttribute::of(expr),
            },
            Op::ChangelogNormalize { .. } | Op::DropUpdateBefore => self.inputs[0].time_attribute(column),
            Op::Union => {
                let first = self.inputs.first()?.time_attribute(column)?;
                let same = self
                    .inputs
                    .iter()
                    .all(|i| i.time_attribute(column) == Some(first));
                same.then_some(first)
            }
            Op::WindowTable(spec) => {
                let of_input = self.inputs[0].output.fields.len();
                match column {
                    // The window's own time stands beside what was there.
                    c if c < of_input => self.inputs[0].time_attribute(c),
                    c if c == of_input + 2 && spec.is_proctime => Some(TimeAttribute::Proctime),
                    c if c == of_input + 2 => Some(TimeAttribute::Rowtime),
                    _ => None,
                }
            }
            Op::WindowAggregate(spec) => match column + 1 == self.output.fields.len() {
                true if spec.is_proctime() => Some(TimeAttribute::Proctime),
                true => Some(TimeAttribute::Rowtime),
                false => None,
            },
            Op::Over(_) | Op::Rank(_) => {
                let input = &self.inputs[0];
                (column < input.output.fields.len()).then(|| input.time_attribute(column))?
            }
            Op::Join(join) => {
                if join.interval.is_none() && join.window.is_none() {
                    return None;
                }
                match column.checked_sub(self.inputs[0].output.fields.len()) {
                    None => self.inputs[0].time_attribute(column),
                    Some(column) => self.inputs[1].time_attribute(column),
                }
            }
            // What an update changes is no clock.
            Op::Watermark { .. }
            | Op::Scan { .. }
            | Op::Values { .. }
            | Op::Expand(_)
            | Op::Aggregate { .. } => None,
        }
    }

    /// Rewrites the inputs of this operator.
    pub fn map_inputs(mut self, f: &mut impl FnMut(Rel) -> Rel) -> Rel {
        self.inputs = self.inputs.into_iter().map(f).collect();
        self
    }

    /// Columns `0..n` as they are.
    pub fn identity(row: &RowType) -> Vec<Expr> {
        row.fields
            .iter()
            .enumerate()
            .map(|(i, f)| Expr::column(i, f.data_type.clone()))
            .collect()
    }

    /// Whether it is known to give no rows.
    pub fn is_empty(&self) -> bool {
        matches!(&self.op, Op::Values { rows } if rows.is_empty())
    }
}

/// What stands behind the columns of a window's rows or results.
fn window_fields(time: TypeKind) -> [Field; 3] {
    let bound = DataType::not_null(TypeKind::Timestamp(3));
    [
        Field::new("window_start", bound.clone()),
        Field::new("window_end", bound),
        Field::new("window_time", DataType::not_null(time)),
    ]
}

/// What makes a column a clock of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeAttribute {
    Rowtime,
    Proctime,
}

impl TimeAttribute {
    pub fn kind(self) -> TimeKind {
        match self {
            TimeAttribute::Rowtime => TimeKind::Event,
            TimeAttribute::Proctime => TimeKind::Processing,
        }
    }

    /// That of a computed column.
    pub fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Call { function, .. } if function == "PROCTIME" => Some(TimeAttribute::Proctime),
            _ => None,
        }
    }
}

/// `table.exec.sink.upsert-materialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpsertMaterialize {
    None,
    Auto,
    Force,
}

/// A bound INSERT.
#[derive(Debug, Clone)]
pub(crate) struct InsertPlan {
    /// Gives exactly the sink's columns, except that they may be null where the sink's may not.
    pub query: Rel,
    pub sink: SinkSpec,
    /// The kinds of rows that the sink takes.
    pub accepts: SinkChangelog,
    pub materialize: UpsertMaterialize,
    /// Columns that are the upsert key of the query's rows, where rows of the same key of the sink
    /// have to be held until the last of them is known.
    pub materializer: Option<Vec<usize>>,
    pub parallelism: Option<usize>,
    /// Columns by index in which a null has to be caught, and whether its row is dropped.
    pub not_null: Vec<usize>,
    pub drop: bool,
    /// The query as it is written, with one space where there is any.
    pub text: String,
}
