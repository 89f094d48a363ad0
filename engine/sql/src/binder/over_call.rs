//! Calls of functions over a window.

use millrace_dataflow::{OverCall, OverFunction};
use millrace_expr::aggregate::{AggregateFunction, Parameters};
use millrace_expr::{DataType, Expr, TypeKind, cast};
use sqlparser::ast::{
    Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Spanned,
    Value,
};
use sqlparser::tokenizer::Span;

use super::aggregate_call::{self, Written};
use super::expr::{self, is_untyped_null};
use super::over::{DENSE_RANK, LAG, RANK, ROW_NUMBER, Windows};
use super::scope::Scope;
use super::variance::{Variance, VarianceCall};
use crate::error::{Result, SqlError};

/// A call over a window, over the column of its result.
pub(super) fn bind(scope: &Scope, windows: &Windows, f: &Function, at: Span) -> Result<Expr> {
    let name = f.name.to_string().to_uppercase();
    if !f.within_group.is_empty() {
        return Err(SqlError::unsupported("WITHIN GROUP", at));
    }
    let FunctionArguments::List(list) = &f.args else {
        return Err(SqlError::new(
            format!("{name} OVER takes its arguments in parentheses"),
            at,
        ));
    };
    if let Some(filter) = &f.filter {
        return Err(
            SqlError::new("Flink SQL has no FILTER before OVER", filter.span())
                .with_hint("write CASE WHEN condition THEN value END as the argument"),
        );
    }
    let window = windows.of_call(f, &name, scope, at)?;
    let number = match name.as_str() {
        ROW_NUMBER => Some(OverFunction::RowNumber),
        RANK => Some(OverFunction::Rank),
        DENSE_RANK => Some(OverFunction::DenseRank),
        _ => None,
    };
    if let Some(function) = number {
        plain(&name, f, at)?;
        if !list.args.is_empty() {
            return Err(SqlError::new(format!("{name} takes no argument"), at));
        }
        windows.enter(window, at)?;
        return Ok(windows.result(OverCall {
            function,
            arg: None,
            arg_type: None,
            distinct: false,
            parameters: Parameters::default(),
            default: None,
            data_type: DataType::not_null(TypeKind::BigInt),
        }));
    }
    if name == LAG {
        plain(&name, f, at)?;
        let lag = Lag::bind(&list.args, scope, at)?;
        windows.enter(window, at)?;
        return Ok(lag.result(windows));
    }
    if let Some(refusal) = millrace_expr::function::refusal(&name) {
        return Err(SqlError::from(refusal).or_at(at));
    }
    let written = aggregate_call::written(scope, f, at)?;
    let call = AggregateOver {
        windows,
        written: &written,
        at,
    };
    let result = call.bind()?;
    windows.enter(window, at)?;
    Ok(result)
}

/// A function that takes nothing beside its arguments.
fn plain(name: &str, f: &Function, at: Span) -> Result<()> {
    let FunctionArguments::List(list) = &f.args else {
        return Ok(());
    };
    if f.null_treatment.is_some()
        || list
            .clauses
            .iter()
            .any(|clause| matches!(clause, FunctionArgumentClause::IgnoreOrRespectNulls(_)))
    {
        return Err(
            SqlError::unsupported(format!("IGNORE NULLS and RESPECT NULLS in {name}"), at).with_hint(
                "Flink accepts the words here and counts nulls all the same: leave rows with NULL out below, by WHERE",
            ),
        );
    }
    if list.duplicate_treatment.is_some() {
        return Err(SqlError::new(format!("{name} takes no DISTINCT"), at)
            .with_hint("it looks at rows, and not at values: leave the word out"));
    }
    match list.clauses.first() {
        Some(clause) => Err(SqlError::unsupported(format!("'{clause}' in {name} OVER"), at)),
        None => Ok(()),
    }
}

/// A call of an aggregate function.
struct AggregateOver<'a> {
    windows: &'a Windows<'a>,
    written: &'a Written,
    at: Span,
}

impl AggregateOver<'_> {
    fn bind(&self) -> Result<Expr> {
        let name = self.written.name.as_str();
        if let Some(function) = Variance::by_name(name) {
            let arg = self.written.only()?;
            let variance = VarianceCall {
                function,
                name,
                arg: &arg,
                distinct: self.written.distinct,
                always: true,
                over: true,
                at: self.at,
            };
            return variance.expand(|function, arg| self.result(function, arg, Parameters::default()));
        }
        let Some(function) = AggregateFunction::by_name(name) else {
            return Err(SqlError::unsupported(format!("{name} OVER"), self.at));
        };
        let (arg, parameters) = aggregate_call::argument(function, self.written)?;
        match arg {
            Some(arg) if function == AggregateFunction::Avg => self.average(arg),
            arg => self.result(function, arg, parameters),
        }
    }

    /// A sum through a count: before OVER the sum has the argument's type, and may wrap around, as in Flink.
    fn average(&self, arg: Expr) -> Result<Expr> {
        let located = |e: millrace_core::Error| SqlError::from(e).or_at(self.at);
        let result = AggregateFunction::Avg
            .result_type(Some(arg.data_type()), true)
            .map_err(located)?;
        let counted = arg.data_type().nullable || self.written.distinct;
        let none = Parameters::default;
        let sum = self.result(AggregateFunction::Sum, Some(arg.clone()), none())?;
        let count = self.result(AggregateFunction::Count, counted.then_some(arg), none())?;
        let average = expr::call("/", vec![sum, count], self.at)?;
        match average.data_type().kind == result.kind {
            true => Ok(average),
            false => {
                let nullable = average.data_type().nullable;
                cast::cast(average, result.with_nullable(nullable)).map_err(located)
            }
        }
    }

    fn result(&self, function: AggregateFunction, arg: Option<Expr>, parameters: Parameters) -> Result<Expr> {
        let arg_type = arg.as_ref().map(|arg| arg.data_type().clone());
        // The window of a row has that row at least.
        let data_type = function
            .result_type(arg_type.as_ref(), true)
            .map_err(|e| SqlError::from(e).or_at(self.at))?;
        let mut call = OverCall {
            function: OverFunction::Aggregate(function),
            arg: arg.map(|arg| self.windows.arg(arg)),
            arg_type,
            distinct: self.written.distinct,
            parameters,
            default: None,
            data_type,
        };
        call.distinct = call.aggregate().is_some_and(|call| call.is_distinct());
        Ok(self.windows.result(call))
    }
}

/// A call of LAG: how many rows back, of what, and what it is where there is no such row.
struct Lag {
    offset: u64,
    value: Expr,
    default: Option<Expr>,
}

impl Lag {
    fn bind(args: &[FunctionArg], scope: &Scope, at: Span) -> Result<Self> {
        let wrong = || SqlError::new("LAG takes a value, how many rows back, and a default", at);
        let ast = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(ast)) => Ok(ast.clone()),
            _ => Err(wrong()),
        };
        let (value, offset, default) = match args {
            [value] => (value, None, None),
            [value, offset] => (value, Some(offset), None),
            [value, offset, default] => (value, Some(offset), Some(default)),
            _ => return Err(wrong()),
        };
        let offset = match offset.map(ast).transpose()? {
            None => 1,
            Some(Ast::Value(number)) => match &number.value {
                Value::Number(text, false) => text.parse::<u64>().map_err(|_| {
                    SqlError::new("LAG takes how many rows back as a whole number", number.span)
                })?,
                _ => {
                    return Err(SqlError::new(
                        "LAG takes how many rows back as a number",
                        number.span,
                    ));
                }
            },
            Some(other) => return Err(SqlError::unsupported("LAG by an expression", other.span())),
        };
        let value = expr::bind(&ast(value)?, scope)?;
        let default = match default.map(ast).transpose()? {
            None => None,
            Some(ast) => Some(default_of(&value, expr::bind(&ast, scope)?, ast.span())?),
        };
        Ok(Lag {
            offset,
            value,
            default,
        })
    }

    fn result(self, windows: &Windows) -> Expr {
        let arg_type = self.value.data_type().clone();
        // Without a default the first rows have none before them.
        let nullable = match &self.default {
            Some(default) => arg_type.nullable || default.data_type().nullable,
            None => true,
        };
        windows.result(OverCall {
            function: OverFunction::Lag { offset: self.offset },
            arg: Some(windows.arg(self.value)),
            data_type: arg_type.clone().with_nullable(nullable),
            arg_type: Some(arg_type),
            distinct: false,
            parameters: Parameters::default(),
            default: self.default.map(|default| windows.arg(default)),
        })
    }
}

/// A default in the value's type. Flink wants it to be of that type; a text or a time may be shorter.
fn default_of(value: &Expr, default: Expr, at: Span) -> Result<Expr> {
    use TypeKind::{Char, Timestamp, TimestampLtz, Varchar};
    if is_untyped_null(&default) {
        return Err(SqlError::new("NULL is no default of LAG", at)
            .with_hint("leave it out: without one LAG gives NULL"));
    }
    let wanted = &value.data_type().kind;
    let fits = match (wanted, &default.data_type().kind) {
        (Varchar(wanted), Char(given) | Varchar(given)) => given <= wanted,
        (Timestamp(wanted), Timestamp(given)) | (TimestampLtz(wanted), TimestampLtz(given)) => {
            given <= wanted
        }
        (wanted, given) => wanted == given,
    };
    if !fits {
        return Err(SqlError::new(
            format!("the default of LAG has the type of its value, {wanted}"),
            at,
        )
        .with_hint(format!("write CAST(... AS {wanted}) around it")));
    }
    if default.data_type().kind == *wanted {
        return Ok(default);
    }
    let data_type = value
        .data_type()
        .clone()
        .with_nullable(default.data_type().nullable);
    cast::cast(default, data_type).map_err(|e| SqlError::from(e).or_at(at))
}
