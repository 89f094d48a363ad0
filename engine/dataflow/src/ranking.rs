//! Rows in an order within partitions: top-N and OVER windows.

use std::fmt;

use millrace_expr::DataType;
use millrace_expr::aggregate::{AggregateCall, AggregateFunction, Parameters};
use serde::{Deserialize, Serialize};

use crate::window::WindowColumns;

/// A column to sort by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey {
    /// Of the input; `UNREAD` for a clock that is not among its columns.
    pub column: usize,
    pub descending: bool,
    /// Flink takes nulls as the lowest values: first where it ascends, unless it is written.
    pub nulls_first: bool,
    /// The column is a clock of the stream.
    pub time: Option<TimeKind>,
}

impl SortKey {
    /// Rows are in the order of the clock by their arrival: no column is needed for it.
    pub const UNREAD: usize = usize::MAX;

    pub fn is_clock(&self) -> bool {
        self.time == Some(TimeKind::Processing)
    }
}

/// What makes a column a clock of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeKind {
    Event,
    Processing,
}

/// Rows whose ROW_NUMBER in their partition lies in a range: top-N, deduplication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// Columns of the input, by index.
    pub partition: Vec<usize>,
    pub order: Vec<SortKey>,
    /// The first row number that passes, counted from 1.
    pub start: u64,
    /// The last one that does.
    pub end: u64,
    /// The row number is the output's last column.
    pub with_number: bool,
    pub strategy: RankStrategy,
}

/// Rows of a window whose ROW_NUMBER in their partition lies in a range, given when the window is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowRank {
    /// Columns of the input, by index, beside the window.
    pub partition: Vec<usize>,
    pub window: WindowColumns,
    pub order: Vec<SortKey>,
    /// The first row number that passes, counted from 1.
    pub start: u64,
    /// The last one that does.
    pub end: u64,
    /// The row number is the output's last column.
    pub with_number: bool,
    /// Of rows that are equal by the order the last one counts.
    pub replaces_equal: bool,
}

/// What a rank has to keep, by the rows that its input sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RankStrategy {
    /// Inserts only: what falls out of the range never comes back.
    AppendFast,
    /// Updates by these columns that only ever move a row up.
    UpdateFast { keys: Vec<usize> },
    /// Anything: all rows are kept.
    Retract,
}

impl Rank {
    pub fn is_top_1(&self) -> bool {
        self.start == 1 && self.end == 1
    }

    /// The first or last row of each partition by time; which of them, and by which time.
    pub fn deduplicates(&self) -> Option<Deduplicate> {
        let [key] = self.order.as_slice() else {
            return None;
        };
        let time = key.time?;
        let is = !self.with_number && self.is_top_1() && self.strategy == RankStrategy::AppendFast;
        is.then_some(Deduplicate {
            keep_last: key.descending,
            rowtime: (time == TimeKind::Event).then_some(key.column),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deduplicate {
    pub keep_last: bool,
    /// The column of the event time; none goes by arrival.
    pub rowtime: Option<usize>,
}

/// Aggregate functions over the rows up to each row: the input's columns, then the calls' results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverAggregate {
    /// Columns of the input, by index.
    pub partition: Vec<usize>,
    /// The time attribute that orders the rows.
    pub time: usize,
    pub kind: TimeKind,
    pub frame: Frame,
    pub calls: Vec<OverCall>,
}

/// Where the window of a row begins; it ends with the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// With so many rows before it; none: with the first.
    Rows(Option<u64>),
    /// With rows so many milliseconds before it; none: with the first. Rows of the same time have
    /// the same window.
    Range(Option<i64>),
}

/// `ROWS BETWEEN 2 PRECEDING AND CURRENT ROW`
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, start) = match self {
            Frame::Rows(rows) => ("ROWS", rows.map(|n| n.to_string())),
            Frame::Range(millis) => ("RANGE", millis.map(|n| format!("{n} ms"))),
        };
        let start = start.unwrap_or_else(|| "UNBOUNDED".to_owned());
        write!(f, "{unit} BETWEEN {start} PRECEDING AND CURRENT ROW")
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverCall {
    pub function: OverFunction,
    /// The argument, by index; none for COUNT(*) and for numbers and ranks of rows.
    pub arg: Option<usize>,
    pub arg_type: Option<DataType>,
    /// Each value of a window counts once.
    #[serde(default)]
    pub distinct: bool,
    #[serde(default)]
    pub parameters: Parameters,
    /// What LAG gives where no row is so far before, by index; without one NULL.
    #[serde(default)]
    pub default: Option<usize>,
    pub data_type: DataType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverFunction {
    RowNumber,
    /// Flink compares no times: rows of the same time all have the number of the last of them.
    Rank,
    DenseRank,
    /// The argument of so many rows before.
    Lag {
        offset: u64,
    },
    Aggregate(AggregateFunction),
}

impl OverFunction {
    pub fn name(self) -> &'static str {
        match self {
            OverFunction::RowNumber => "ROW_NUMBER",
            OverFunction::Rank => "RANK",
            OverFunction::DenseRank => "DENSE_RANK",
            OverFunction::Lag { .. } => "LAG",
            OverFunction::Aggregate(function) => function.name(),
        }
    }
}

impl OverCall {
    /// The columns that it reads.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.arg.into_iter().chain(self.default)
    }

    /// The same call where columns are at other positions.
    pub fn remapped(self, position: &impl Fn(usize) -> usize) -> Self {
        OverCall {
            arg: self.arg.map(position),
            default: self.default.map(position),
            ..self
        }
    }

    /// As people write it, its columns by their names.
    pub fn written(&self, name: &impl Fn(usize) -> String) -> String {
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let mut args = vec![self.arg.map_or_else(|| "*".to_owned(), name)];
        match (self.function, self.default) {
            (OverFunction::Lag { offset }, None) if offset != 1 => args.push(offset.to_string()),
            (OverFunction::Lag { offset }, Some(default)) => args.extend([offset.to_string(), name(default)]),
            _ => {}
        }
        if let Some(separator) = &self.parameters.separator {
            args.push(format!("'{separator}'"));
        }
        format!("{}({distinct}{})", self.function.name(), args.join(", "))
    }

    /// As a call over a group, if that is what it is: numbers of rows count them.
    pub fn aggregate(&self) -> Option<AggregateCall> {
        let function = match self.function {
            OverFunction::RowNumber | OverFunction::Rank | OverFunction::DenseRank => {
                AggregateFunction::Count
            }
            OverFunction::Aggregate(function) => function,
            OverFunction::Lag { .. } => return None,
        };
        Some(AggregateCall {
            function,
            arg: self.arg,
            arg_type: self.arg_type.clone(),
            distinct: self.distinct,
            ignores_retractions: false,
            filter: None,
            parameters: self.parameters.clone(),
            data_type: self.data_type.clone(),
        })
    }
}
