//! Aggregate functions: how a call is typed, and accumulators over batches.
//!
//! An accumulator keeps its state in columns, one entry a slot; whoever uses it decides which slot
//! stands for which group. It takes a batch at a time and never looks at a group as an object.
//!
//! What is large or has to be searched (the values of a DISTINCT, the counts of a MIN that rows are
//! taken back from) is kept in maps that the user of the accumulators provides, for the same slots.
//!
//! Layout: `accumulator` the interface and the loops that all of them share, `calls` the calls of an
//! aggregation together, `maps` where they keep maps; functions of numbers in columns: `count`, `sum`,
//! `average`, `extreme`; `encoded` what functions over values of any type share, and those: `held`,
//! `counted`, `listed`, `collected`; `distinct` which rows bring new values.

pub mod accumulator;
mod average;
mod calls;
mod collected;
mod count;
mod counted;
mod distinct;
mod encoded;
mod extreme;
mod held;
mod listed;
pub mod maps;
#[cfg(test)]
mod random_tests;
mod sum;
#[cfg(test)]
mod tests;

use millrace_core::{Error, Result};
use serde::{Deserialize, Serialize};

pub use self::accumulator::{Accumulator, Input, Trace};
pub use self::calls::{Calls, Grouped};
use self::held::Choice;
use self::listed::Form;
use self::maps::view;
pub use self::maps::{Entries, HeapMaps, Maps};
use crate::{DataType, TypeKind};

/// A call over columns of the aggregation's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// The argument, by index; none for COUNT(*).
    pub arg: Option<usize>,
    pub arg_type: Option<DataType>,
    /// Each value of a group counts once.
    #[serde(default)]
    pub distinct: bool,
    /// A BOOLEAN column: rows where it is not true do not count.
    pub filter: Option<usize>,
    #[serde(default)]
    pub parameters: Parameters,
    /// Of values that only get better, MAX and MIN need not look at those that are taken back.
    #[serde(default)]
    pub ignores_retractions: bool,
    pub data_type: DataType,
}

/// What a call says beside its argument.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// What stands between the values of LISTAGG; a comma if nothing is said.
    pub separator: Option<String>,
    /// Nulls are left out: of ARRAY_AGG by IGNORE NULLS, of JSON by ABSENT ON NULL.
    pub ignore_nulls: bool,
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
    FirstValue,
    LastValue,
    SingleValue,
    #[serde(rename = "LISTAGG")]
    ListAgg,
    ArrayAgg,
    Collect,
    /// Over a text that is JSON.
    #[serde(rename = "JSON_ARRAYAGG")]
    JsonArrayAgg,
    /// Over a row of a key and a text that is JSON.
    #[serde(rename = "JSON_OBJECTAGG")]
    JsonObjectAgg,
}

/// All functions, as plans and people call them.
const NAMES: &[(&str, AggregateFunction)] = &[
    ("COUNT", AggregateFunction::Count),
    ("SUM", AggregateFunction::Sum),
    ("$SUM0", AggregateFunction::Sum0),
    ("AVG", AggregateFunction::Avg),
    ("MIN", AggregateFunction::Min),
    ("MAX", AggregateFunction::Max),
    ("FIRST_VALUE", AggregateFunction::FirstValue),
    ("LAST_VALUE", AggregateFunction::LastValue),
    ("SINGLE_VALUE", AggregateFunction::SingleValue),
    ("LISTAGG", AggregateFunction::ListAgg),
    ("ARRAY_AGG", AggregateFunction::ArrayAgg),
    ("COLLECT", AggregateFunction::Collect),
    ("JSON_ARRAYAGG", AggregateFunction::JsonArrayAgg),
    ("JSON_OBJECTAGG", AggregateFunction::JsonObjectAgg),
];

impl AggregateFunction {
    pub fn by_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        let found = NAMES.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }

    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(_, function)| *function == self);
        found.map_or("?", |(name, _)| name)
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
            (Self::FirstValue | Self::LastValue, kind) if held_kind(kind) => kind.clone(),
            (Self::SingleValue, kind) => kind.clone(),
            (Self::ListAgg, kind @ (TypeKind::Char(_) | TypeKind::Varchar(_))) => kind.clone(),
            (Self::ArrayAgg, _) => TypeKind::Array(Box::new(arg.clone())),
            (Self::Collect, _) => TypeKind::Multiset(Box::new(arg.clone())),
            (Self::JsonArrayAgg | Self::JsonObjectAgg, _) => TypeKind::Varchar(2000),
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
            Self::Sum0 | Self::Collect | Self::JsonArrayAgg | Self::JsonObjectAgg => false,
            Self::SingleValue => true,
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

    /// Whether DISTINCT makes a difference: the best of many is the best of each once.
    pub fn is_distinct(&self) -> bool {
        self.distinct && !matches!(self.function, AggregateFunction::Min | AggregateFunction::Max)
    }

    /// Whether it keeps a map, where rows can be taken back or not; that of a DISTINCT aside.
    pub fn keeps_map(&self, retracts: bool) -> bool {
        use AggregateFunction::*;
        match self.function {
            Count | Sum | Sum0 | Avg | SingleValue => false,
            Min | Max => retracts && !self.ignores_retractions,
            FirstValue | LastValue => retracts,
            ListAgg | ArrayAgg | Collect | JsonArrayAgg | JsonObjectAgg => true,
        }
    }

    /// Whether what it keeps in a map is part of its group's row, where Flink has it too, rather than entries
    /// that expire by themselves where state has a time to live.
    pub fn map_lives_with_row(&self, retracts: bool) -> bool {
        match self.function {
            AggregateFunction::ListAgg => !retracts || self.ignores_retractions,
            AggregateFunction::ArrayAgg => true,
            _ => false,
        }
    }

    /// What keeps the state of this call's groups. `retracts`: rows can be taken back. `number` is that
    /// of its view of the maps, which no other call has.
    pub fn accumulator(&self, retracts: bool, number: usize) -> Result<Box<dyn Accumulator>> {
        use AggregateFunction::*;
        let retracts = retracts && !self.ignores_retractions;
        let view = view(number);
        let arg = match (&self.arg_type, self.function) {
            (_, Count) => return Ok(Box::new(count::Count::default())),
            (Some(arg), _) => arg,
            (None, function) => {
                return Err(Error::internal(format!("{} has no argument", function.name())));
            }
        };
        let result = &self.data_type;
        let nulls = !self.parameters.ignore_nulls;
        match self.function {
            Count => Ok(Box::new(count::Count::default())),
            Sum => sum::accumulator(arg, false),
            Sum0 => sum::accumulator(arg, true),
            Avg => average::accumulator(arg, result),
            Min if retracts => counted::accumulator(arg, false, view),
            Max if retracts => counted::accumulator(arg, true, view),
            Min => extreme::accumulator(arg, false),
            Max => extreme::accumulator(arg, true),
            FirstValue if retracts => listed::end(arg, false, view),
            LastValue if retracts => listed::end(arg, true, view),
            FirstValue => held::accumulator(arg, Choice::First),
            LastValue => held::accumulator(arg, Choice::Last),
            SingleValue => held::single(arg),
            ListAgg => {
                let separator = self.parameters.separator.as_deref().unwrap_or(",");
                listed::accumulator(arg, result, Form::text(separator), retracts, view)
            }
            ArrayAgg => listed::accumulator(arg, result, Form::Array { nulls }, retracts, view),
            JsonArrayAgg => listed::accumulator(arg, result, Form::JsonArray { nulls }, retracts, view),
            Collect => collected::collect(arg, result, view),
            JsonObjectAgg => collected::json_object(arg, result, nulls, view),
        }
    }

    /// Whether Flink can put results together that it has of parts of a window: of these functions it cannot,
    /// and it refuses them over SESSION, HOP and CUMULATE.
    pub fn merges_windows(&self) -> bool {
        use AggregateFunction::*;
        !matches!(self.function, FirstValue | LastValue | JsonArrayAgg)
    }

    /// Whether the states of parts of a group can be added, for an aggregation in two phases.
    pub fn merges(&self, retracts: bool) -> bool {
        let merges = |accumulator: Box<dyn Accumulator>| accumulator.merges();
        !self.is_distinct() && self.accumulator(retracts, 0).is_ok_and(merges)
    }
}

/// Types that FIRST_VALUE and LAST_VALUE take, as in Flink.
fn held_kind(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::TinyInt
            | TypeKind::SmallInt
            | TypeKind::Int
            | TypeKind::BigInt
            | TypeKind::Float
            | TypeKind::Double
            | TypeKind::Boolean
            | TypeKind::Varchar(_)
            | TypeKind::Decimal { .. }
    )
}

fn unknown(function: &str, data_type: &DataType) -> Error {
    Error::internal(format!("{function} was planned over the type {data_type}"))
}
