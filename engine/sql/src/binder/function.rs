//! Calls of functions.

use millrace_expr::{DataType, Expr, Scalar, TypeKind, function};
use sqlparser::ast::{
    Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, Spanned,
};
use sqlparser::tokenizer::Span;

use super::expr::{ExprBinder, call};
use super::{aggregate_call, literal, over_call};
use crate::catalog::{CATALOG, DATABASE};
use crate::error::{Result, SqlError};
use crate::parser::json::INTERNAL;

/// Units that TIMESTAMPADD and TIMESTAMPDIFF take as a bare word.
const UNITS: &[&str] = &[
    "SECOND",
    "MINUTE",
    "HOUR",
    "DAY",
    "WEEK",
    "MONTH",
    "QUARTER",
    "YEAR",
    "MILLISECOND",
    "MICROSECOND",
    "NANOSECOND",
    "SQL_TSI_SECOND",
    "SQL_TSI_MINUTE",
    "SQL_TSI_HOUR",
    "SQL_TSI_DAY",
    "SQL_TSI_WEEK",
    "SQL_TSI_MONTH",
    "SQL_TSI_QUARTER",
    "SQL_TSI_YEAR",
];

pub(super) fn bind(binder: &ExprBinder, f: &Function, at: Span, depth: usize) -> Result<Expr> {
    let at = if at == Span::empty() { f.name.span() } else { at };
    let [ObjectNamePart::Identifier(name)] = f.name.0.as_slice() else {
        return Err(SqlError::unsupported(
            format!("the user-defined function {}", f.name),
            at,
        ));
    };
    let canonical = name.value.to_uppercase();
    if f.over.is_some() {
        return match binder.windows {
            Some(windows) => over_call::bind(binder.scope, windows, f, at),
            None => Err(
                SqlError::new(format!("{canonical} OVER (...) cannot stand here"), at).with_hint(
                    "it stands in a SELECT without GROUP BY: group, or filter by it, in a query around or below",
                ),
            ),
        };
    }
    let is_aggregate = function::is_aggregate(&canonical);
    if f.filter.is_some() && !is_aggregate {
        return Err(SqlError::new(
            format!("{canonical} is no aggregate function and takes no FILTER"),
            at,
        ));
    }
    if !f.within_group.is_empty() {
        return Err(SqlError::unsupported("WITHIN GROUP", at));
    }
    if f.null_treatment.is_some() && !is_aggregate {
        return Err(SqlError::unsupported("IGNORE NULLS and RESPECT NULLS", at));
    }
    if f.uses_odbc_syntax || f.parameters != FunctionArguments::None {
        return Err(SqlError::new("a function is called as NAME(arguments)", at));
    }
    if is_aggregate && let Some(refusal) = function::refusal(&canonical) {
        return Err(SqlError::from(refusal).or_at(at));
    }
    if is_aggregate {
        return match binder.grouping {
            Some(grouping) => aggregate_call::bind(binder, grouping, f, at),
            None => Err(SqlError::new(
                format!("the aggregate function {canonical} cannot stand here"),
                at,
            )
            .with_hint("it takes many rows: it stands in SELECT or HAVING, and not in another one")),
        };
    }
    let asts = arguments(f).map_err(|e| e.or_at(at))?;
    // Operators have names among the functions, which nobody can call.
    const OPERATORS: &[&str] = &[
        "AND", "BETWEEN", "CASE", "FIELD", "IN", "ITEM", "LIKE", "NOT", "OR", "OVERLAPS",
    ];
    // What the dialect made of special syntax is no name.
    if name.quote_style == Some(INTERNAL) {
        let args = asts
            .iter()
            .map(|ast| binder.bind(ast, depth + 1))
            .collect::<Result<_>>()?;
        return call(&name.value, args, at);
    }
    let is_name = canonical.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name || OPERATORS.contains(&canonical.as_str()) {
        return Err(SqlError::new(format!("unknown function {}", name.value), at));
    }
    match canonical.as_str() {
        "CURRENT_DATABASE" if asts.is_empty() => return Ok(name_of_the_session(DATABASE)),
        "CURRENT_CATALOG" if asts.is_empty() => return Ok(name_of_the_session(CATALOG)),
        // An empty constructor has no type to give.
        "ARRAY" | "MAP" if asts.is_empty() => {
            return Err(SqlError::new(
                format!("{canonical}[] needs an element, to have a type"),
                at,
            ));
        }
        _ => {}
    }
    // Whatever its arguments are.
    if let Some(refusal) = function::refusal(&canonical) {
        return Err(SqlError::from(refusal).or_at(at));
    }
    let mut args = Vec::with_capacity(asts.len());
    for (i, ast) in asts.iter().enumerate() {
        if i == 0 && matches!(canonical.as_str(), "TIMESTAMPADD" | "TIMESTAMPDIFF") {
            args.push(literal::string(&unit(ast)?));
        } else {
            args.push(binder.bind(ast, depth + 1)?);
        }
    }
    // For people who wrote a column's name with parentheses.
    if !function::exists(&canonical) && binder.scope.columns.iter().any(|c| c.name == name.value) {
        return Err(SqlError::new(
            format!("'{}' is a column, not a function", name.value),
            at,
        ));
    }
    call(&canonical, args, at)
}

fn name_of_the_session(name: &str) -> Expr {
    Expr::literal(
        Scalar::String(name.to_owned()),
        DataType::string().with_nullable(false),
    )
}

/// Whether it is the row constructor, `ROW(...)`.
pub(super) fn is_row(f: &Function) -> bool {
    matches!(f.name.0.as_slice(), [ObjectNamePart::Identifier(name)] if name.value.eq_ignore_ascii_case("ROW"))
}

/// The arguments of a call, which are expressions and nothing else.
pub(super) fn arguments(f: &Function) -> Result<Vec<&Ast>> {
    let at = f.name.span();
    let canonical = f.name.to_string().to_uppercase();
    let list = match &f.args {
        FunctionArguments::None => &[][..],
        FunctionArguments::List(list) => {
            if list.duplicate_treatment.is_some() {
                return Err(SqlError::unsupported(format!("DISTINCT in {canonical}"), at));
            }
            if let Some(clause) = list.clauses.first() {
                return Err(SqlError::unsupported(format!("'{clause}' in {canonical}"), at));
            }
            list.args.as_slice()
        }
        FunctionArguments::Subquery(_) => {
            return Err(SqlError::unsupported(format!("a subquery in {canonical}"), at));
        }
    };
    let mut asts = Vec::with_capacity(list.len());
    for arg in list {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => asts.push(e),
            FunctionArg::Unnamed(_) => return Err(SqlError::new(format!("'*' in {canonical}"), at)),
            FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                return Err(SqlError::unsupported("arguments by name", at));
            }
        }
    }
    Ok(asts)
}

fn unit(ast: &Ast) -> Result<String> {
    let wrong = || {
        SqlError::new("expected a unit of time", ast.span()).with_hint("for example TIMESTAMPADD(DAY, 1, ts)")
    };
    let Ast::Identifier(name) = ast else {
        return Err(wrong());
    };
    let unit = name.value.to_uppercase();
    if name.quote_style.is_some() || !UNITS.contains(&unit.as_str()) {
        return Err(wrong());
    }
    Ok(unit.strip_prefix("SQL_TSI_").unwrap_or(&unit).to_owned())
}

/// The type that a column of only untyped NULLs gets, as it cannot have none.
pub(super) fn known_type(data_type: &DataType) -> bool {
    match &data_type.kind {
        TypeKind::Null => false,
        TypeKind::Array(e) | TypeKind::Multiset(e) => known_type(e),
        TypeKind::Map(k, v) => known_type(k) && known_type(v),
        TypeKind::Row(fields) => fields.iter().all(|f| known_type(&f.data_type)),
        _ => true,
    }
}
