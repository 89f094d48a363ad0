//! Calls of aggregate functions, and of those that tell grouping sets apart.

use millrace_expr::aggregate::{AggregateCall, AggregateFunction, Parameters};
use millrace_expr::{Expr, Scalar, TypeKind};
use sqlparser::ast::{
    DuplicateTreatment, Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, NullTreatment, Spanned,
};
use sqlparser::tokenizer::Span;

use super::aggregate::Grouping;
use super::expr::{self, ExprBinder, is_untyped_null};
use super::scope::Scope;
use super::variance::{Variance, VarianceCall};
use crate::error::{Result, SqlError};

/// A call as it is written, its expressions bound over the rows that are aggregated.
pub(super) struct Written {
    pub name: String,
    /// `*` is none.
    args: Vec<Option<Expr>>,
    pub distinct: bool,
    filter: Option<Expr>,
    ignore_nulls: Option<bool>,
    at: Span,
}

/// A call of an aggregate function, over the result of the aggregation.
pub(super) fn bind(binder: &ExprBinder, grouping: &Grouping, f: &Function, at: Span) -> Result<Expr> {
    let written = written(binder.scope, f, at)?;
    let name = written.name.as_str();
    if matches!(name, "GROUPING" | "GROUPING_ID" | "GROUP_ID") {
        return grouping_function(grouping, &written);
    }
    if let Some(function) = Variance::by_name(name) {
        let arg = written.only()?;
        let variance = VarianceCall {
            function,
            name,
            arg: &arg,
            distinct: written.distinct,
            always: grouping.has_keys() && written.filter.is_none(),
            over: false,
            at,
        };
        return variance
            .expand(|function, arg| call(grouping, function, arg, Parameters::default(), &written));
    }
    let Some(function) = AggregateFunction::by_name(name) else {
        return Err(SqlError::unsupported(
            format!("the aggregate or window function {name}"),
            at,
        ));
    };
    let (arg, parameters) = argument(function, &written)?;
    call(grouping, function, arg, parameters, &written)
}

pub(super) fn written(scope: &Scope, f: &Function, at: Span) -> Result<Written> {
    let name = f.name.to_string().to_uppercase().replace('`', "");
    // Arguments are over the rows that are aggregated.
    let rows = ExprBinder {
        scope,
        grouping: None,
        windows: None,
    };
    let FunctionArguments::List(list) = &f.args else {
        return Err(SqlError::new(format!("{name} needs an argument"), at));
    };
    let mut nulls = f.null_treatment;
    for clause in &list.clauses {
        match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => nulls = Some(*treatment),
            FunctionArgumentClause::OrderBy(_) => {
                return Err(
                    SqlError::unsupported(format!("ORDER BY in {name}"), at).with_hint(
                        "values come in the order of the stream, in Flink too, which does not look at it",
                    ),
                );
            }
            other => return Err(SqlError::unsupported(format!("'{other}' in {name}"), at)),
        }
    }
    if nulls.is_some() && name != "ARRAY_AGG" {
        return Err(SqlError::new(
            format!("{name} takes no IGNORE NULLS or RESPECT NULLS"),
            at,
        ));
    }
    let mut args = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        args.push(match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => None,
            FunctionArg::Unnamed(FunctionArgExpr::Expr(ast)) => Some(rows.bind(ast, 0)?),
            FunctionArg::Unnamed(_) => return Err(SqlError::new(format!("'*' of a table in {name}"), at)),
            FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                return Err(SqlError::unsupported("arguments by name", at));
            }
        });
    }
    Ok(Written {
        distinct: matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct)),
        filter: f.filter.as_deref().map(|ast| filter(&rows, ast)).transpose()?,
        ignore_nulls: nulls.map(|nulls| nulls == NullTreatment::IgnoreNulls),
        name,
        args,
        at,
    })
}

fn filter(rows: &ExprBinder, ast: &Ast) -> Result<Expr> {
    let condition = rows.bind(ast, 0)?;
    match condition.data_type().kind {
        TypeKind::Boolean => Ok(condition),
        _ => Err(SqlError::new(
            "FILTER takes a condition of type BOOLEAN",
            ast.span(),
        )),
    }
}

impl Written {
    /// The only argument, which is an expression with a type.
    pub fn only(&self) -> Result<Expr> {
        let [Some(arg)] = self.args.as_slice() else {
            return Err(SqlError::new(
                format!("{} takes one argument", self.name),
                self.at,
            ));
        };
        match is_untyped_null(arg) {
            true => Err(
                SqlError::new(format!("NULL needs a type in {}", self.name), self.at)
                    .with_hint("write CAST(NULL AS type)"),
            ),
            false => Ok(arg.clone()),
        }
    }
}

/// What the function aggregates, and what the call says beside it.
pub(super) fn argument(function: AggregateFunction, written: &Written) -> Result<(Option<Expr>, Parameters)> {
    let (name, at) = (&written.name, written.at);
    let mut parameters = Parameters {
        ignore_nulls: written.ignore_nulls.unwrap_or(false),
        ..Parameters::default()
    };
    let arg = match (function, written.args.as_slice()) {
        (AggregateFunction::Count, [None]) if !written.distinct => return Ok((None, parameters)),
        // COUNT of what is never null counts rows.
        (AggregateFunction::Count, _) => {
            let arg = written.only()?;
            let needed = written.distinct || arg.data_type().nullable;
            return Ok((needed.then_some(arg), parameters));
        }
        (AggregateFunction::ListAgg, [Some(arg), Some(separator)]) => {
            let Expr::Literal {
                value: Scalar::String(text),
                ..
            } = separator
            else {
                return Err(
                    SqlError::new("the separator of LISTAGG is a text and not computed", at)
                        .with_hint("for example LISTAGG(name, '; ')"),
                );
            };
            parameters.separator = Some(text.clone());
            arg.clone()
        }
        (AggregateFunction::JsonArrayAgg, [Some(nulls), Some(value)]) => {
            parameters.ignore_nulls = is_absent(nulls);
            expr::call("JSON_STRING", vec![value.clone()], at)?
        }
        (AggregateFunction::JsonObjectAgg, [Some(nulls), Some(key), Some(value)]) => {
            if !key.data_type().is_string() {
                return Err(SqlError::new("the key of JSON_OBJECTAGG is of type STRING", at)
                    .with_hint(format!("this is of type {}: CAST it", key.data_type().kind)));
            }
            parameters.ignore_nulls = is_absent(nulls);
            let value = expr::call("JSON_STRING", vec![value.clone()], at)?;
            expr::call("ROW", vec![key.clone(), value], at)?
        }
        (AggregateFunction::JsonArrayAgg | AggregateFunction::JsonObjectAgg, _) => {
            return Err(SqlError::new(
                format!("{name} is called with other arguments"),
                at,
            ));
        }
        _ => written.only()?,
    };
    Ok((Some(arg), parameters))
}

/// Whether nulls are left out, by the word that the parser has put before the arguments.
fn is_absent(nulls: &Expr) -> bool {
    matches!(nulls, Expr::Literal { value: Scalar::String(word), .. } if word == "ABSENT")
}

fn call(
    grouping: &Grouping,
    function: AggregateFunction,
    arg: Option<Expr>,
    parameters: Parameters,
    written: &Written,
) -> Result<Expr> {
    let arg_type = arg.as_ref().map(|arg| arg.data_type().clone());
    // With a filter even a group may have no row that counts.
    let always = grouping.has_keys() && written.filter.is_none();
    let data_type = function
        .result_type(arg_type.as_ref(), always)
        .map_err(|e| SqlError::from(e).or_at(written.at))?;
    let mut call = AggregateCall {
        function,
        arg: arg.map(|arg| grouping.arg(arg)),
        arg_type,
        distinct: written.distinct,
        filter: written.filter.clone().map(|filter| grouping.arg(filter)),
        parameters,
        ignores_retractions: false,
        data_type,
    };
    call.distinct = call.is_distinct();
    Ok(grouping.result(call))
}

/// GROUPING and its like: what a group's set lacks.
fn grouping_function(grouping: &Grouping, written: &Written) -> Result<Expr> {
    let (name, at) = (&written.name, written.at);
    if written.distinct || written.filter.is_some() {
        return Err(SqlError::new(
            format!("{name} takes no DISTINCT and no FILTER"),
            at,
        ));
    }
    if name == "GROUP_ID" {
        return match written.args.is_empty() {
            true => grouping.by_set(|keys, set| keys.id(set) >> keys.keys.len(), at),
            false => Err(SqlError::new("GROUP_ID takes no argument", at)),
        };
    }
    let mut places = Vec::with_capacity(written.args.len());
    for arg in &written.args {
        let place = arg.as_ref().and_then(|arg| grouping.place(arg));
        places.push(place.ok_or_else(|| {
            SqlError::new(format!("{name} takes what GROUP BY names"), at)
                .with_hint("write the argument as it stands in GROUP BY")
        })?);
    }
    match places.is_empty() {
        true => Err(SqlError::new(format!("{name} needs an argument"), at)),
        false => grouping.by_set(|keys, set| keys.grouping(set, &places), at),
    }
}
