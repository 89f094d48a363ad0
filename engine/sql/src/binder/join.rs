//! Joins in FROM: the columns of both sides, and what must be true of them.

use millrace_dataflow::JoinKind;
use millrace_expr::Expr;
use sqlparser::ast::{
    Ident, Join as Ast, JoinConstraint, JoinOperator, ObjectNamePart, Spanned, TableWithJoins,
};
use sqlparser::tokenizer::Span;

use super::Binder;
use super::expr::{self, ExprBinder};
use super::query::{boolean, or};
use super::scope::{Scope, ScopeColumn};
use super::state_ttl::StateTtls;
use crate::error::{Result, SqlError};
use crate::plan::{Join, Op, Rel};
use crate::rules;

impl Binder<'_> {
    pub(super) fn table_with_joins(
        &mut self,
        from: &TableWithJoins,
        at: Span,
        depth: usize,
    ) -> Result<(Rel, Scope)> {
        let TableWithJoins { relation, joins } = from;
        let mut joined = self.table_factor(relation, depth)?;
        for join in joins {
            joined = self.join(joined, join, at, depth)?;
        }
        Ok(joined)
    }

    fn join(&mut self, left: (Rel, Scope), join: &Ast, at: Span, depth: usize) -> Result<(Rel, Scope)> {
        let Ast {
            relation,
            global,
            join_operator,
        } = join;
        let at = or(relation.span(), at);
        let none = &JoinConstraint::None;
        let (kind, constraint) = match join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinKind::Inner, c),
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
            JoinOperator::FullOuter(c) => (JoinKind::Full, c),
            JoinOperator::CrossJoin(JoinConstraint::None) => (JoinKind::Inner, none),
            _ => return Err(SqlError::new("Flink SQL has no such join", at)),
        };
        if *global {
            return Err(SqlError::new("Flink SQL has no GLOBAL JOIN", at));
        }
        let is_cross = matches!(join_operator, JoinOperator::CrossJoin(_));
        let right = self.table_factor(relation, depth)?;
        let ttl = [&left.1, &right.1].map(|scope| self.state_ttls.of_input(scope));
        match constraint {
            JoinConstraint::On(condition) => {
                let scope = both(&left, &right, kind);
                let condition = boolean(
                    condition,
                    &ExprBinder {
                        scope: &scope,
                        grouping: None,
                        windows: None,
                    },
                    "ON",
                )?;
                Ok((with(made(left.0, right.0, kind, Some(condition)), ttl), scope))
            }
            JoinConstraint::Using(names) => {
                let names = names
                    .iter()
                    .map(|name| match name.0.as_slice() {
                        [ObjectNamePart::Identifier(ident)] => Ok(ident.clone()),
                        _ => Err(SqlError::new("USING takes names of columns", name.span())),
                    })
                    .collect::<Result<Vec<_>>>()?;
                using(left, right, kind, &names, ttl, at)
            }
            JoinConstraint::Natural => {
                let shown =
                    |scope: &Scope, name: &str| scope.columns.iter().any(|c| !c.hidden && c.name == name);
                let common = left
                    .1
                    .columns
                    .iter()
                    .filter(|c| !c.hidden && shown(&right.1, &c.name));
                let names: Vec<Ident> = common.map(|c| Ident::with_span(at, &c.name)).collect();
                using(left, right, kind, &names, ttl, at)
            }
            JoinConstraint::None if is_cross => {
                let scope = both(&left, &right, kind);
                Ok((with(made(left.0, right.0, kind, None), ttl), scope))
            }
            JoinConstraint::None => Err(SqlError::new("a join needs a condition", at)
                .with_hint("write ON, or USING; all pairs of rows are a CROSS JOIN")),
        }
    }
}

/// All pairs of rows.
pub(super) fn cross(left: (Rel, Scope), right: (Rel, Scope), ttls: &StateTtls) -> (Rel, Scope) {
    let scope = both(&left, &right, JoinKind::Inner);
    let ttl = [ttls.of_input(&left.1), ttls.of_input(&right.1)];
    (with(made(left.0, right.0, JoinKind::Inner, None), ttl), scope)
}

/// Sets what a hint says of a join's inputs.
pub(super) fn with(mut join: Rel, ttl: [Option<i64>; 2]) -> Rel {
    if let Op::Join(join) = &mut join.op {
        join.state_ttl = ttl;
    }
    join
}

/// A join of a kind, whose times may bound one another.
pub(super) fn made(left: Rel, right: Rel, kind: JoinKind, condition: Option<Expr>) -> Rel {
    let merged = |side: &Rel| rules::merge_calcs(side.clone());
    let window = rules::joined_windows(&merged(&left), &merged(&right), condition.as_ref());
    let interval = rules::interval_bounds(&left, &right, kind, condition.as_ref());
    let join = Join {
        kind,
        keys: Vec::new(),
        condition,
        interval: interval.filter(|_| window.is_none()),
        state_ttl: [None; 2],
        window,
    };
    Rel::join(left, right, join)
}

fn both(left: &(Rel, Scope), right: &(Rel, Scope), kind: JoinKind) -> Scope {
    let side = |scope: &Scope, padded: bool| {
        let column = |c: &ScopeColumn| ScopeColumn {
            data_type: c.data_type.clone().with_nullable(c.data_type.nullable || padded),
            ..c.clone()
        };
        scope.columns.iter().map(column).collect::<Vec<_>>()
    };
    let mut columns = side(&left.1, kind.keeps_right());
    columns.extend(side(&right.1, kind.keeps_left()));
    Scope { columns }
}

/// A join by columns that both sides have: those come once, before all others.
fn using(
    left: (Rel, Scope),
    right: (Rel, Scope),
    kind: JoinKind,
    names: &[Ident],
    ttl: [Option<i64>; 2],
    at: Span,
) -> Result<(Rel, Scope)> {
    let mut pairs = Vec::with_capacity(names.len());
    for name in names {
        let of = |scope: &Scope| {
            scope.by_name(name)?.ok_or_else(|| {
                SqlError::new(
                    format!("the column '{}' of USING is not on both sides", name.value),
                    name.span,
                )
            })
        };
        pairs.push((of(&left.1)?, of(&right.1)?));
    }
    let of_left = left.1.columns.len();
    let scope = both(&left, &right, kind);
    let column = |scope: &Scope, i: usize| Expr::column(i, scope.columns[i].data_type.clone());
    // The condition is over both sides as they are, without what an outer join adds.
    let plain = both(&left, &right, JoinKind::Inner);
    let mut equal = Vec::with_capacity(pairs.len());
    for (l, r) in &pairs {
        equal.push(expr::call(
            "=",
            vec![column(&plain, *l), column(&plain, of_left + r)],
            at,
        )?);
    }
    let rel = with(made(left.0, right.0, kind, rules::all_of(equal)), ttl);
    let mut projection = Vec::new();
    let mut columns = Vec::new();
    for (name, (l, r)) in names.iter().zip(&pairs) {
        let (l, r) = (column(&scope, *l), column(&scope, of_left + r));
        let merged = match kind {
            JoinKind::Inner | JoinKind::Left if l.data_type() == r.data_type() => l,
            _ => expr::call("COALESCE", vec![l, r], at)?,
        };
        columns.push(ScopeColumn {
            name: name.value.clone(),
            data_type: merged.data_type().clone(),
            relation: Vec::new(),
            hidden: false,
        });
        projection.push(merged);
    }
    for (i, of_side) in scope.columns.iter().enumerate() {
        let is_merged = pairs.iter().any(|(l, r)| i == *l || i == of_left + r);
        columns.push(ScopeColumn {
            hidden: of_side.hidden || is_merged,
            ..of_side.clone()
        });
        projection.push(column(&scope, i));
    }
    let names = columns.iter().map(|c| c.name.clone()).collect();
    Ok((Rel::calc(rel, None, projection, names), Scope { columns }))
}
