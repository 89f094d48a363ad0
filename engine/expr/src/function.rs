//! Functions and operators by name: how a call is typed and which code computes it.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use arrow::array::ArrayRef;
use millrace_core::{Error, Result};

use crate::compile::Session;
use crate::functions::{self, catalog, catalog::Why};
use crate::value::Value;
use crate::{DataType, Expr};

/// A function or operator that is built.
pub(crate) struct Function {
    /// Canonical, upper-case name.
    pub name: &'static str,
    /// The accepted forms, for error messages.
    pub forms: &'static str,
    /// Checks the arguments, makes implicit casts explicit and gives the result's type.
    pub resolve: fn(&mut Vec<Expr>) -> Resolution,
    pub body: Body,
    pub volatility: Volatility,
}

pub(crate) enum Resolution {
    Type(DataType),
    /// The call stands for another expression.
    Rewritten(Expr),
    /// The arguments' number or types do not fit any form.
    Mismatch,
    /// The arguments have fitting types but are refused for another reason.
    Refused(Error),
}

impl From<Option<DataType>> for Resolution {
    fn from(data_type: Option<DataType>) -> Self {
        data_type.map_or(Resolution::Mismatch, Resolution::Type)
    }
}

/// How a function is computed.
pub(crate) enum Body {
    /// Over the evaluated arguments of all rows.
    Eager {
        fallible: bool,
        evaluate: fn(&Call<'_>) -> Result<ArrayRef>,
    },
    /// Arguments are evaluated only for the rows that need them.
    Lazy(Lazy),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lazy {
    And,
    Or,
    /// when1, then1, ..., else.
    Case,
    Coalesce,
    /// condition, then, else.
    If,
    NullIf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Volatility {
    /// Equal arguments, equal result.
    Immutable,
    /// Depends on the moment of evaluation; equal within one batch.
    Dynamic,
    /// A new value each row.
    Volatile,
}

/// One call over a batch.
pub(crate) struct Call<'a> {
    pub args: &'a [Value],
    pub arg_types: &'a [DataType],
    pub data_type: &'a DataType,
    /// Rows of the result; 1 when every argument is a scalar.
    pub rows: usize,
    pub session: &'a Session,
    pub now_millis: i64,
    /// What this call keeps from batch to batch: 0 at first.
    pub memory: &'a AtomicU64,
}

impl Function {
    pub(crate) const fn eager(
        name: &'static str,
        forms: &'static str,
        resolve: fn(&mut Vec<Expr>) -> Resolution,
        evaluate: fn(&Call<'_>) -> Result<ArrayRef>,
    ) -> Self {
        let body = Body::Eager {
            fallible: false,
            evaluate,
        };
        Function {
            name,
            forms,
            resolve,
            body,
            volatility: Volatility::Immutable,
        }
    }

    /// May fail for some rows, so it is never evaluated for rows that do not need it.
    pub(crate) const fn fallible(mut self) -> Self {
        if let Body::Eager { evaluate, .. } = self.body {
            self.body = Body::Eager {
                fallible: true,
                evaluate,
            };
        }
        self
    }

    pub(crate) const fn lazy(
        name: &'static str,
        forms: &'static str,
        resolve: fn(&mut Vec<Expr>) -> Resolution,
        lazy: Lazy,
    ) -> Self {
        Function {
            name,
            forms,
            resolve,
            body: Body::Lazy(lazy),
            volatility: Volatility::Immutable,
        }
    }

    pub(crate) const fn with_volatility(mut self, volatility: Volatility) -> Self {
        self.volatility = volatility;
        self
    }
}

static TABLE: LazyLock<HashMap<&'static str, &'static Function>> = LazyLock::new(|| {
    functions::FAMILIES
        .iter()
        .flat_map(|f| f.iter())
        .map(|f| (f.name, f))
        .collect()
});

/// Other names of the same functions.
const ALIASES: &[(&str, &str)] = &[
    ("!=", "<>"),
    ("CEILING", "CEIL"),
    ("CHARACTER_LENGTH", "CHAR_LENGTH"),
    ("LCASE", "LOWER"),
    ("POW", "POWER"),
    ("RANDOM", "RAND"),
    ("SUBSTR", "SUBSTRING"),
    ("UCASE", "UPPER"),
];

/// The canonical form of a name: upper case, single spaces, aliases resolved.
fn canonical(name: &str) -> String {
    let upper = name
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_uppercase();
    match ALIASES.iter().find(|(alias, _)| *alias == upper) {
        Some((_, name)) => (*name).to_owned(),
        None => upper,
    }
}

pub(crate) fn lookup(name: &str) -> Option<&'static Function> {
    TABLE
        .get(name)
        .copied()
        .or_else(|| TABLE.get(canonical(name).as_str()).copied())
}

/// Resolves a call: the function, its implicit casts and the type of its result.
///
/// An error says which forms the function takes, which name comes nearest to an unknown one, or
/// that a function of Flink is not built yet.
pub fn call(name: &str, mut args: Vec<Expr>) -> Result<Expr> {
    let canonical = canonical(name);
    let Some(function) = TABLE.get(canonical.as_str()) else {
        return Err(unknown(name, &canonical));
    };
    let given = args
        .iter()
        .map(|a| a.data_type().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    match (function.resolve)(&mut args) {
        Resolution::Type(data_type) => Ok(Expr::Call {
            function: function.name.to_owned(),
            args,
            data_type,
        }),
        Resolution::Rewritten(expr) => Ok(expr),
        Resolution::Refused(error) => Err(error),
        Resolution::Mismatch => Err(Error::user(format!(
            "{} does not take arguments of these types",
            function.name
        ))
        .with_detail(format!(
            "given: {}({given})\naccepted: {}",
            function.name, function.forms
        ))),
    }
}

fn unknown(name: &str, canonical: &str) -> Error {
    if let Some(refusal) = refusal(canonical) {
        return refusal;
    }
    if catalog::AGGREGATES.contains(&canonical) {
        return Error::user(format!(
            "{canonical} is an aggregate or window function and cannot stand here"
        ))
        .with_detail("it takes the rows of a group or window, not one row");
    }
    let error = Error::user(format!("unknown function {name}"));
    if let Some((_, sql)) = catalog::TABLE_API.iter().find(|(known, _)| *known == canonical) {
        return error.with_hint(format!("that is its name in Flink's Table API; SQL has {sql}"));
    }
    let nearest = names()
        .into_iter()
        .map(|known| (edit_distance(canonical, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4);
    match nearest {
        Some((_, known)) => error.with_hint(format!("did you mean {known}?")),
        None => error,
    }
}

/// Why a function of Flink is refused, whatever its arguments are, with what to write instead; none of
/// what is built, and of what Flink does not have.
pub fn refusal(name: &str) -> Option<Error> {
    let canonical = canonical(name);
    let refused = catalog::REFUSED.iter().find(|r| r.name == canonical)?;
    let error = match refused.why {
        Why::NotBuilt => Error::unsupported(format!("the function {canonical}")),
        Why::NoStream => Error::user(format!("{canonical} over a stream is not supported, as in Flink")),
        Why::Internal => Error::user(format!(
            "{canonical} is internal to Flink's planner, and no function of its SQL"
        )),
        Why::TableApi => Error::user(format!("{canonical} is of Flink's Table API, and not of SQL")),
    };
    Some(error.with_hint(refused.instead))
}

/// The names of all functions that `refusal` knows.
pub fn refused() -> impl Iterator<Item = &'static str> {
    catalog::REFUSED.iter().map(|refused| refused.name)
}

/// Levenshtein distance.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Whether a name is a function or operator of Flink, built here or not.
pub fn exists(name: &str) -> bool {
    let canonical = canonical(name);
    let name = canonical.as_str();
    TABLE.contains_key(name)
        || catalog::OF_THE_SESSION.contains(&name)
        || catalog::AGGREGATES.contains(&name)
        || catalog::REFUSED.iter().any(|refused| refused.name == name)
}

/// The names of all functions and operators that `call` resolves, sorted; aliases included, those
/// that only resolution makes (they begin with `$`) not.
pub fn names() -> Vec<&'static str> {
    let aliases = ALIASES.iter().map(|(alias, _)| *alias);
    let mut names: Vec<_> = TABLE
        .keys()
        .copied()
        .filter(|n| !n.starts_with('$'))
        .chain(aliases)
        .collect();
    names.sort_unstable();
    names
}

/// Whether a name is an aggregate or window function of Flink.
pub fn is_aggregate(name: &str) -> bool {
    catalog::AGGREGATES.contains(&canonical(name).as_str())
}

/// Whether equal arguments always give an equal result. An unknown name is not.
pub fn is_deterministic(name: &str) -> bool {
    lookup(name).is_some_and(|f| f.volatility == Volatility::Immutable)
}

/// Whether the function depends on the moment of evaluation: evaluated per record in streaming,
/// never folded.
pub fn is_dynamic(name: &str) -> bool {
    lookup(name).is_some_and(|f| f.volatility == Volatility::Dynamic)
}
