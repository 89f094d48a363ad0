//! Aggregate functions: how a call is typed, and accumulators over batches.
//!
//! An accumulator keeps its state in columns, one entry a slot; whoever uses it decides which slot
//! stands for which group. It takes a batch at a time and never looks at a group as an object.
//!
//! Layout: `accumulator` the interface and the loops that all of them share; `count`, `sum`,
//! `average` and `extreme` the functions.

pub mod accumulator;
mod average;
mod count;
mod extreme;
mod sum;
#[cfg(test)]
mod tests;

use millrace_core::{Error, Result};
use serde::{Deserialize, Serialize};

pub use self::accumulator::{Accumulator, Input, Trace};
use crate::{DataType, TypeKind};

/// A call over columns of the aggregation's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// The argument, by index; none for COUNT(*).
    pub arg: Option<usize>,
    pub arg_type: Option<DataType>,
    /// A BOOLEAN column: rows where it is not true do not count.
    pub filter: Option<usize>,
    pub data_type: DataType,
}

/// What is built. The names stand in plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AggregateFunction {
    Count,
    Sum,
    /// SUM that is 0 of nothing.
    Sum0,
    Avg,
    Min,
    Max,
}

impl AggregateFunction {
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "COUNT" => Self::Count,
            "SUM" => Self::Sum,
            "SUM0" => Self::Sum0,
            "AVG" => Self::Avg,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Sum0 => "SUM0",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
        }
    }

    /// Whether a row can be taken back from what it keeps.
    pub fn retracts(self) -> bool {
        !matches!(self, Self::Min | Self::Max)
    }

    /// The type of the result, as Flink derives it. `grouped`: every result is of at least one row.
    pub fn result_type(self, arg: Option<&DataType>, grouped: bool) -> Result<DataType> {
        let refused = || {
            let given = arg.map_or("*".to_owned(), DataType::to_string);
            Error::user(format!("{} does not take an argument of this type", self.name()))
                .with_detail(format!("given: {}({given})", self.name()))
        };
        if self == Self::Count {
            return Ok(DataType::not_null(TypeKind::BigInt));
        }
        let arg = arg.ok_or_else(refused)?;
        let kind = match (self, &arg.kind) {
            (Self::Min | Self::Max, kind) if extreme::takes_kind(kind) => kind.clone(),
            (Self::Sum | Self::Sum0, TypeKind::Decimal { scale, .. }) => TypeKind::Decimal {
                precision: 38,
                scale: *scale,
            },
            // Six digits after the point at least, as of any division.
            (Self::Avg, TypeKind::Decimal { scale, .. }) => TypeKind::Decimal {
                precision: 38,
                scale: (*scale).max(6),
            },
            (Self::Sum | Self::Sum0 | Self::Avg, kind) if arg.is_numeric() => kind.clone(),
            _ => return Err(refused()),
        };
        let nullable = match self {
            Self::Sum0 => false,
            _ => arg.nullable || !grouped,
        };
        Ok(DataType { kind, nullable })
    }
}

impl AggregateCall {
    /// The columns that it reads.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.arg.into_iter().chain(self.filter)
    }

    /// The same call where columns are at other positions.
    pub fn remapped(self, position: &impl Fn(usize) -> usize) -> Self {
        AggregateCall {
            arg: self.arg.map(position),
            filter: self.filter.map(position),
            ..self
        }
    }

    /// What keeps the state of this call's groups.
    pub fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        let arg = self.arg_type.as_ref();
        match (self.function, arg) {
            (AggregateFunction::Count, _) => Ok(Box::new(count::Count::default())),
            (AggregateFunction::Sum, Some(arg)) => sum::accumulator(arg, false),
            (AggregateFunction::Sum0, Some(arg)) => sum::accumulator(arg, true),
            (AggregateFunction::Avg, Some(arg)) => average::accumulator(arg, &self.data_type),
            (AggregateFunction::Min, Some(arg)) => extreme::accumulator(arg, false),
            (AggregateFunction::Max, Some(arg)) => extreme::accumulator(arg, true),
            (function, None) => Err(Error::internal(format!("{} has no argument", function.name()))),
        }
    }
}

fn unknown(function: &str, data_type: &DataType) -> Error {
    Error::internal(format!("{function} was planned over the type {data_type}"))
}
