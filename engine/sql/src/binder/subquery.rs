//! IN and EXISTS with a query, as parts of WHERE: joins that give rows of the left only.
//!
//! A query that stands on its own is bound so. Else, if it is a plain SELECT ... FROM ... WHERE, the
//! conditions that name columns from around it become conditions of the join.

use millrace_dataflow::JoinKind;
use millrace_expr::{Expr, TypeKind};
use sqlparser::ast::{
    BinaryOperator, Expr as Ast, GroupByExpr, Query, Select, SelectItem, SetExpr, Spanned, UnaryOperator,
};
use sqlparser::tokenizer::Span;

use super::expr::{self, ExprBinder};
use super::query::boolean;
use super::scope::Scope;
use super::{Binder, aggregate, join};
use crate::error::{Result, SqlError};
use crate::plan::{Op, Rel};
use crate::rules;

/// A part of WHERE that asks a query.
struct Asked<'a> {
    /// Of IN.
    value: Option<&'a Ast>,
    query: &'a Query,
    negated: bool,
    at: Span,
}

/// What a query gives to be asked for.
struct Answer {
    rel: Rel,
    /// The column of IN.
    column: usize,
    /// Over the asking rows, then the answer's.
    conditions: Vec<Expr>,
}

impl Binder<'_> {
    /// The rows of FROM that may pass, and the condition that is left.
    pub(super) fn filter(
        &mut self,
        mut input: Rel,
        scope: &Scope,
        selection: Option<&Ast>,
        depth: usize,
    ) -> Result<(Rel, Option<Expr>)> {
        let Some(selection) = selection else {
            return Ok((input, None));
        };
        let mut parts = Vec::new();
        split(selection, &mut parts);
        let asks = parts.iter().any(|part| asked(part, false).is_some());
        let binder = ExprBinder {
            scope,
            grouping: None,
            windows: None,
        };
        if !asks {
            let condition = boolean(selection, &binder, "WHERE")?;
            return Ok(onto_join(input, condition));
        }
        let mut conditions = Vec::new();
        for part in parts {
            match asked(part, false) {
                None => conditions.push(boolean(part, &binder, "WHERE")?),
                Some(asked) => input = self.asking(input, scope, &asked, depth)?,
            }
        }
        Ok((input, rules::all_of(conditions)))
    }

    fn asking(&mut self, input: Rel, scope: &Scope, asked: &Asked, depth: usize) -> Result<Rel> {
        let answer = self.answer(scope, asked, depth)?;
        let kind = if asked.negated {
            JoinKind::Anti
        } else {
            JoinKind::Semi
        };
        let mut conditions = answer.conditions;
        if let Some(value) = asked.value {
            let value = expr::bind(value, scope)?;
            let field = &answer.rel.output.fields[answer.column];
            let of_left = scope.columns.len();
            let other = Expr::column(of_left + answer.column, field.data_type.clone());
            let equal = expr::call("=", vec![value.clone(), other.clone()], asked.at)?;
            // Where a value may be NULL, it may be in or not in: NOT IN then is not true.
            let mut either = Vec::new();
            for side in [value, other] {
                if asked.negated && side.data_type().nullable {
                    either.push(expr::call("IS NULL", vec![side], asked.at)?);
                }
            }
            let mut condition = equal;
            for known in either.into_iter().rev() {
                condition = expr::call("OR", vec![known, condition], asked.at)?;
            }
            conditions.push(condition);
        }
        Ok(join::made(input, answer.rel, kind, rules::all_of(conditions)))
    }

    fn answer(&mut self, outer: &Scope, asked: &Asked, depth: usize) -> Result<Answer> {
        let alone = match self.query(asked.query, depth + 1) {
            Ok(rel) => {
                if asked.value.is_some() && rel.output.fields.len() != 1 {
                    return Err(SqlError::new(
                        "the query of IN has more than one column",
                        asked.at,
                    ));
                }
                return Ok(Answer {
                    rel,
                    column: 0,
                    conditions: Vec::new(),
                });
            }
            Err(alone) => alone,
        };
        let Some(select) = plain(asked.query) else {
            return Err(alone);
        };
        let (rel, inner) = self.from(&select.from, asked.at, depth + 1)?;
        let of_outer = outer.columns.len();
        let mut columns = outer.columns.clone();
        columns.extend(inner.columns.iter().cloned());
        let around = Scope { columns };
        let (mut own, mut conditions) = (Vec::new(), Vec::new());
        let mut parts = Vec::new();
        if let Some(selection) = &select.selection {
            split(selection, &mut parts);
        }
        for part in parts {
            let bound = |scope: &Scope| {
                let binder = ExprBinder {
                    scope,
                    grouping: None,
                    windows: None,
                };
                boolean(part, &binder, "WHERE")
            };
            match bound(&inner) {
                Ok(condition) => own.push(condition),
                // The first error is of a query that stands on its own: it names the column.
                Err(error) => conditions.push(bound(&around).map_err(|_| error)?),
            }
        }
        if conditions.is_empty() {
            return Err(alone);
        }
        let mut projection = Rel::identity(&rel.output);
        let mut names = rel.output.names();
        let column = projection.len();
        if asked.value.is_some() {
            let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
                select.projection.as_slice()
            else {
                return Err(SqlError::new(
                    "the query of IN has not exactly one column",
                    asked.at,
                ));
            };
            projection.push(expr::bind(item, &inner)?);
            names.push("$in".to_owned());
        }
        debug_assert!(of_outer + rel.output.fields.len() == around.columns.len());
        let rel = Rel::calc(rel, rules::all_of(own), projection, names);
        Ok(Answer {
            rel,
            column,
            conditions,
        })
    }
}

/// The parts that must all be true.
fn split<'a>(ast: &'a Ast, parts: &mut Vec<&'a Ast>) {
    let mut stack = vec![ast];
    while let Some(ast) = stack.pop() {
        match ast {
            Ast::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => stack.extend([right.as_ref(), left.as_ref()]),
            other => parts.push(other),
        }
    }
}

fn asked(ast: &Ast, negated: bool) -> Option<Asked<'_>> {
    match ast {
        Ast::Nested(inner) => asked(inner, negated),
        Ast::UnaryOp {
            op: UnaryOperator::Not,
            expr,
        } => asked(expr, !negated),
        Ast::InSubquery {
            expr,
            subquery,
            negated: not,
        } => Some(Asked {
            value: Some(expr),
            query: subquery,
            negated: negated != *not,
            at: ast.span(),
        }),
        Ast::Exists {
            subquery,
            negated: not,
        } => Some(Asked {
            value: None,
            query: subquery,
            negated: negated != *not,
            at: subquery.span(),
        }),
        _ => None,
    }
}

/// A SELECT whose rows are those of its FROM and WHERE.
fn plain(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let is_grouped = match &select.group_by {
        GroupByExpr::Expressions(exprs, modifiers) => !exprs.is_empty() || !modifiers.is_empty(),
        GroupByExpr::All(_) => true,
    };
    let aggregates = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => aggregate::has_aggregate(e),
        _ => false,
    });
    let is_plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.distinct.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.named_window.is_empty()
        && !select.from.is_empty()
        && !is_grouped
        && !aggregates;
    is_plain.then_some(select)
}

/// A condition over an inner join is part of the join's own, which may bound its times.
fn onto_join(input: Rel, condition: Expr) -> (Rel, Option<Expr>) {
    let is_literal =
        matches!(&condition, Expr::Literal { data_type, .. } if data_type.kind == TypeKind::Boolean);
    match &input.op {
        Op::Join(inner) if inner.kind == JoinKind::Inner && !is_literal => {
            let ttl = inner.state_ttl;
            let condition = rules::all_of(inner.condition.clone().into_iter().chain([condition]).collect());
            let mut sides = input.inputs.into_iter();
            match (sides.next(), sides.next()) {
                (Some(left), Some(right)) => {
                    let made = join::made(left, right, JoinKind::Inner, condition);
                    (join::with(made, ttl), None)
                }
                _ => (Rel::empty(input.output), condition),
            }
        }
        _ => (input, Some(condition)),
    }
}
