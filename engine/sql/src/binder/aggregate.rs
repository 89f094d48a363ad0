//! GROUP BY, HAVING and aggregate functions: what is grouped by and what goes into the functions is
//! projected first, then aggregated, and the SELECT's expressions are bound over the result.

use std::cell::RefCell;

use millrace_expr::aggregate::{AggregateCall, AggregateFunction};
use millrace_expr::{DataType, Expr, TypeKind};
use sqlparser::ast::{
    DuplicateTreatment, Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned,
};
use sqlparser::tokenizer::Span;

use super::expr::{self, ExprBinder};
use super::scope::Scope;
use crate::error::{Result, SqlError};
use crate::plan::Rel;

/// The aggregation of one SELECT, while its expressions are bound.
pub(super) struct Grouping {
    /// Over the columns of FROM.
    keys: Vec<Expr>,
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    /// Arguments and filters, over the columns of FROM.
    args: Vec<Expr>,
    /// Columns in them count from the first of `args`.
    calls: Vec<AggregateCall>,
}

impl Grouping {
    pub fn new(keys: Vec<Expr>) -> Self {
        Grouping {
            keys,
            found: RefCell::default(),
        }
    }

    /// An expression over FROM's columns as one over the aggregation's, if it is a key.
    pub fn key(&self, expr: &Expr) -> Option<Expr> {
        let index = self.keys.iter().position(|key| key == expr)?;
        Some(Expr::column(index, expr.data_type().clone()))
    }

    /// The same for what is made of keys; another column has no one value in a group.
    pub fn over_keys(&self, expr: &Expr, scope: &Scope, at: Span) -> Result<Expr> {
        if let Some(key) = self.key(expr) {
            return Ok(key);
        }
        match expr {
            Expr::Column { index, .. } => {
                let name = scope.columns.get(*index).map_or("", |c| c.name.as_str());
                Err(SqlError::new(
                    format!("the column '{name}' is neither grouped by nor aggregated"),
                    at,
                )
                .with_hint("name it in GROUP BY, or put it into an aggregate function"))
            }
            Expr::Literal { .. } => Ok(expr.clone()),
            Expr::Call {
                function,
                args,
                data_type,
            } => Ok(Expr::Call {
                function: function.clone(),
                args: args
                    .iter()
                    .map(|arg| self.over_keys(arg, scope, at))
                    .collect::<Result<_>>()?,
                data_type: data_type.clone(),
            }),
            Expr::Cast {
                expr: inner,
                data_type,
                try_cast,
            } => Ok(Expr::Cast {
                expr: Box::new(self.over_keys(inner, scope, at)?),
                data_type: data_type.clone(),
                try_cast: *try_cast,
            }),
        }
    }

    fn arg(&self, expr: Expr) -> usize {
        let args = &mut self.found.borrow_mut().args;
        args.iter().position(|known| *known == expr).unwrap_or_else(|| {
            args.push(expr);
            args.len() - 1
        })
    }

    /// The column of a call's result.
    fn result(&self, call: AggregateCall) -> Expr {
        let data_type = call.data_type.clone();
        let calls = &mut self.found.borrow_mut().calls;
        let index = calls.iter().position(|known| *known == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        Expr::column(self.keys.len() + index, data_type)
    }

    /// The aggregation over FROM's rows.
    pub fn build(self, input: Rel, condition: Option<Expr>) -> Rel {
        let Found { args, calls } = self.found.into_inner();
        let of_keys = self.keys.len();
        let names = self
            .keys
            .iter()
            .chain(&args)
            .enumerate()
            .map(|(i, expr)| match expr {
                Expr::Column { index, .. } => input.output.fields[*index].name.clone(),
                _ => format!("$f{i}"),
            })
            .collect();
        let projection = self.keys.into_iter().chain(args).collect();
        let input = Rel::calc(input, condition, projection, names);
        let calls: Vec<AggregateCall> = calls
            .into_iter()
            .map(|call| call.remapped(&|column| of_keys + column))
            .collect();
        let names = (0..calls.len()).map(|i| format!("EXPR${i}")).collect();
        Rel::aggregate(input, (0..of_keys).collect(), calls, names)
    }
}

/// Whether an expression calls an aggregate function, other than over a window of its own.
pub(super) fn has_aggregate(ast: &Ast) -> bool {
    let mut found = false;
    let _ = sqlparser::ast::visit_expressions(ast, |e| {
        if let Ast::Function(f) = e {
            found |=
                f.over.is_none() && millrace_expr::function::is_aggregate(&f.name.to_string().to_uppercase());
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    found
}

/// A call of an aggregate function, as the column of its result.
pub(super) fn call(binder: &ExprBinder, grouping: &Grouping, f: &Function, at: Span) -> Result<Expr> {
    let name = f.name.to_string().to_uppercase();
    let Some(function) = AggregateFunction::by_name(&name) else {
        return Err(SqlError::unsupported(
            format!("the aggregate or window function {name}"),
            at,
        ));
    };
    // Arguments are over the rows that are aggregated.
    let rows = ExprBinder {
        scope: binder.scope,
        grouping: None,
        windows: None,
    };
    let FunctionArguments::List(list) = &f.args else {
        return Err(SqlError::new(format!("{name} needs an argument"), at));
    };
    if matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct)) {
        return Err(SqlError::unsupported(format!("DISTINCT in {name}"), at));
    }
    if let Some(clause) = list.clauses.first() {
        return Err(SqlError::unsupported(format!("'{clause}' in {name}"), at));
    }
    let arg = match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] if function == AggregateFunction::Count => None,
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast))] => Some(rows.bind(ast, 0)?),
        _ => {
            return Err(SqlError::new(format!("{name} takes one argument"), at));
        }
    };
    // COUNT of what is never null counts rows.
    let arg = arg.filter(|arg| function != AggregateFunction::Count || arg.data_type().nullable);
    let filter = match &f.filter {
        None => None,
        Some(ast) => {
            let condition = rows.bind(ast, 0)?;
            if condition.data_type().kind != TypeKind::Boolean {
                return Err(SqlError::new(
                    "FILTER takes a condition of type BOOLEAN",
                    ast.span(),
                ));
            }
            Some(condition)
        }
    };
    let arg_type = arg.as_ref().map(|arg| arg.data_type().clone());
    // With a filter even a group may have no row that counts.
    let always = !grouping.keys.is_empty() && filter.is_none();
    let data_type: DataType = function
        .result_type(arg_type.as_ref(), always)
        .map_err(|e| SqlError::from(e).or_at(at))?;
    Ok(grouping.result(AggregateCall {
        function,
        arg: arg.map(|arg| grouping.arg(arg)),
        arg_type,
        filter: filter.map(|filter| grouping.arg(filter)),
        data_type,
    }))
}

/// What GROUP BY names, over FROM's columns; the same thing twice is once.
pub(super) fn keys(exprs: &[Ast], scope: &Scope) -> Result<Vec<Expr>> {
    let mut keys = Vec::new();
    for ast in exprs {
        match ast {
            Ast::GroupingSets(_) | Ast::Cube(_) | Ast::Rollup(_) => {
                return Err(SqlError::unsupported(
                    "GROUPING SETS, CUBE and ROLLUP",
                    ast.span(),
                ));
            }
            Ast::Tuple(parts) if parts.is_empty() => {}
            _ => {
                let key = expr::bind(ast, scope)?;
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
    }
    Ok(keys)
}
