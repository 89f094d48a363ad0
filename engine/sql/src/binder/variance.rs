//! Deviations and variances: sums and counts, and an expression over them. By GROUP BY and before OVER it has
//! the same form, with other types between, as Calcite makes it in two places.

use millrace_expr::aggregate::AggregateFunction;
use millrace_expr::{DataType, Expr, Scalar, TypeKind, cast};
use sqlparser::tokenizer::Span;

use super::expr;
use crate::error::{Result, SqlError};

/// One of these functions.
#[derive(Clone, Copy)]
pub(super) struct Variance {
    /// It divides by the number of values, and not by one less.
    biased: bool,
    root: bool,
}

impl Variance {
    pub fn by_name(name: &str) -> Option<Self> {
        let (biased, root) = match name {
            "VAR_POP" => (true, false),
            "VAR_SAMP" | "VARIANCE" => (false, false),
            "STDDEV_POP" => (true, true),
            "STDDEV_SAMP" | "STDDEV" => (false, true),
            _ => return None,
        };
        Some(Variance { biased, root })
    }
}

/// A call of one, over what it aggregates.
pub(super) struct VarianceCall<'a> {
    pub function: Variance,
    pub name: &'a str,
    pub arg: &'a Expr,
    pub distinct: bool,
    /// Every result is of at least one row.
    pub always: bool,
    /// Before OVER counts have the argument's type where it is divided by them, and roots are taken of it.
    pub over: bool,
    pub at: Span,
}

impl VarianceCall<'_> {
    /// `(SUM(x * x) - SUM(x) * SUM(x) / COUNT(x)) / COUNT(x)`, or through one less, or null where that is 0.
    /// `aggregate` gives the result of a function of an argument.
    pub fn expand(
        &self,
        aggregate: impl Fn(AggregateFunction, Option<Expr>) -> Result<Expr>,
    ) -> Result<Expr> {
        let (arg, at) = (self.arg, self.at);
        if !arg.data_type().is_numeric() {
            return Err(SqlError::new(format!("{} takes a number", self.name), at)
                .with_hint(format!("this is of type {}", arg.data_type().kind)));
        }
        let result = AggregateFunction::Avg
            .result_type(Some(arg.data_type()), self.always)
            .map_err(|e| SqlError::from(e).or_at(at))?;
        let to = |expr: Expr, kind: &TypeKind| -> Result<Expr> {
            let nullable = expr.data_type().nullable;
            match expr.data_type().kind == *kind {
                true => Ok(expr),
                false => {
                    let data_type = DataType {
                        kind: kind.clone(),
                        nullable,
                    };
                    cast::cast(expr, data_type).map_err(|e| SqlError::from(e).or_at(at))
                }
            }
        };
        let typed = |expr: Expr| to(expr, &result.kind);
        let binary = |operator: &str, left: &Expr, right: &Expr| {
            expr::call(operator, vec![left.clone(), right.clone()], at)
        };
        let value = typed(arg.clone())?;
        let squares = aggregate(AggregateFunction::Sum, Some(binary("*", &value, &value)?))?;
        let sum = typed(aggregate(AggregateFunction::Sum, Some(arg.clone()))?)?;
        let counted = arg.data_type().nullable || self.distinct;
        let count = aggregate(AggregateFunction::Count, counted.then(|| arg.clone()))?;
        let divisor = match self.over {
            true => typed(count.clone())?,
            false => count.clone(),
        };
        let mean = binary("/", &binary("*", &sum, &sum)?, &divisor)?;
        let difference = binary("-", &squares, &mean)?;
        let divisor = match self.function.biased {
            true => divisor,
            false => {
                let one = Expr::literal(Scalar::Integer(1), DataType::not_null(TypeKind::Int));
                let null = Expr::literal(Scalar::Null, DataType::bigint());
                let less = binary("-", &count, &one)?;
                expr::call("CASE", vec![binary("=", &count, &one)?, null, less], at)?
            }
        };
        let mut quotient = binary("/", &difference, &divisor)?;
        if self.function.root {
            if self.over {
                quotient = typed(quotient)?;
            }
            let half = Expr::literal(Scalar::Decimal(5), DataType::decimal(2, 1).with_nullable(false));
            quotient = binary("POWER", &quotient, &half)?;
        }
        typed(quotient)
    }
}
