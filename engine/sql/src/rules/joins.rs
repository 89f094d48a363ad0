//! Joins: conditions go down to the side that they are about, pairs of equal columns become keys,
//! and a filter that no row with nulls in place of a side passes makes an outer join an inner one.

use std::collections::BTreeSet;

use millrace_dataflow::{JoinKey, JoinKind};
use millrace_expr::{Expr, cast};

use super::expressions::{add_columns, all_of, conjuncts, is_deterministic, is_literal_true};
use super::{interval, merge_calcs, window_join};
use crate::plan::{Join, Op, Rel};

pub(super) fn apply(rel: Rel) -> Rel {
    let rel = into_join(rel);
    let rel = match rel.op {
        Op::Join(_) => keyed(rel),
        _ => rel,
    };
    rel.map_inputs(&mut apply)
}

/// Where the columns of an expression are.
#[derive(PartialEq, Eq)]
enum Side {
    Neither,
    Left,
    Right,
    Both,
}

fn side(expr: &Expr, of_left: usize) -> Side {
    let mut columns = BTreeSet::new();
    add_columns(expr, &mut columns);
    match (columns.range(..of_left).next(), columns.range(of_left..).next()) {
        (None, None) => Side::Neither,
        (Some(_), None) => Side::Left,
        (None, Some(_)) => Side::Right,
        (Some(_), Some(_)) => Side::Both,
    }
}

/// A filter over a join goes into it, as far as it can.
fn into_join(rel: Rel) -> Rel {
    let Op::Calc {
        condition: Some(condition),
        projection,
    } = &rel.op
    else {
        return rel;
    };
    let Op::Join(join) = &rel.inputs[0].op else {
        return rel;
    };
    let of_left = rel.inputs[0].inputs[0].output.fields.len();
    let parts = conjuncts(condition.clone());
    let mut kind = join.kind;
    for part in &parts {
        let is_strict = |of: &dyn Fn(usize) -> bool| is_strict(part, of);
        if is_strict(&|c| c < of_left) {
            kind = match kind {
                JoinKind::Right => JoinKind::Inner,
                JoinKind::Full => JoinKind::Left,
                other => other,
            };
        }
        if is_strict(&|c| c >= of_left) {
            kind = match kind {
                JoinKind::Left => JoinKind::Inner,
                JoinKind::Full => JoinKind::Right,
                other => other,
            };
        }
    }
    let (mut left, mut right, mut on, mut rest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        match side(&part, of_left) {
            _ if !is_deterministic(&part) => rest.push(part),
            Side::Left if !kind.keeps_right() => left.push(part),
            Side::Right if !kind.keeps_left() => right.push(part),
            Side::Both if kind == JoinKind::Inner => on.push(part),
            _ => rest.push(part),
        }
    }
    if kind == join.kind && left.is_empty() && right.is_empty() && on.is_empty() {
        return rel;
    }
    let join = Join {
        kind,
        keys: join.keys.clone(),
        condition: all_of(
            join.condition
                .clone()
                .into_iter()
                .flat_map(conjuncts)
                .chain(on)
                .collect(),
        ),
        interval: join.interval,
        state_ttl: join.state_ttl,
        window: join.window,
    };
    let (projection, names) = (projection.clone(), rel.output.names());
    let mut inputs = rel.inputs;
    let mut sides = inputs.swap_remove(0).inputs.into_iter();
    let (Some(of_left_side), Some(of_right_side)) = (sides.next(), sides.next()) else {
        return Rel::empty(rel.output);
    };
    let left_side = filtered(of_left_side, left, 0);
    let right_side = filtered(of_right_side, right, of_left);
    let join = rebuilt(left_side, right_side, join);
    Rel::calc(join, all_of(rest), projection, names)
}

/// A side with conditions on it alone, whose columns count from `offset`.
fn filtered(rel: Rel, conditions: Vec<Expr>, offset: usize) -> Rel {
    let shifted = conditions
        .iter()
        .map(|c| c.map_columns(&|i, t| Expr::column(i - offset, t.clone())));
    match all_of(shifted.collect()) {
        None => rel,
        Some(condition) => {
            let (projection, names) = (Rel::identity(&rel.output), rel.output.names());
            merge_calcs::apply(Rel::calc(rel, Some(condition), projection, names))
        }
    }
}

fn rebuilt(left: Rel, right: Rel, join: Join) -> Rel {
    let bounds = interval::bounds(&left, &right, join.kind, join.condition.as_ref());
    let window = window_join::windows(&left, &right, join.condition.as_ref());
    Rel::join(
        left,
        right,
        Join {
            interval: bounds.filter(|_| window.is_none()),
            window,
            ..join
        },
    )
}

/// Whether a condition cannot be true where the columns of a side are null.
fn is_strict(expr: &Expr, of: &dyn Fn(usize) -> bool) -> bool {
    /// Whether a null in a column of the side makes the value null.
    fn hands_on(expr: &Expr, of: &dyn Fn(usize) -> bool) -> bool {
        match expr {
            Expr::Column { index, .. } => of(*index),
            Expr::Cast { expr, .. } => hands_on(expr, of),
            Expr::Call { function, args, .. } => {
                matches!(
                    function.as_str(),
                    "=" | "<>" | "<" | "<=" | ">" | ">=" | "+" | "-" | "*" | "/" | "%" | "UNARY -" | "LIKE"
                ) && args.iter().any(|arg| hands_on(arg, of))
            }
            Expr::Literal { .. } => false,
        }
    }
    match expr {
        Expr::Call { function, args, .. } => match function.as_str() {
            "IS NOT NULL" | "IS TRUE" | "IS FALSE" => args.iter().any(|arg| hands_on(arg, of)),
            "BETWEEN" | "NOT" | "IN" => args.first().is_some_and(|arg| hands_on(arg, of)),
            "OR" => args.iter().all(|arg| is_strict(arg, of)),
            "AND" => args.iter().any(|arg| is_strict(arg, of)),
            _ => hands_on(expr, of),
        },
        _ => hands_on(expr, of),
    }
}

/// The join with its keys, over sides that are filtered and have a column for each key.
fn keyed(rel: Rel) -> Rel {
    let Op::Join(join) = &rel.op else { return rel };
    let kind = join.kind;
    let of_left = rel.inputs[0].output.fields.len();
    let (mut left, mut right, mut equal, mut rest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for part in join.condition.clone().into_iter().flat_map(conjuncts) {
        if is_literal_true(&part) {
            continue;
        }
        if !is_deterministic(&part) {
            rest.push(part);
            continue;
        }
        match side(&part, of_left) {
            Side::Left if !kind.keeps_left() && kind != JoinKind::Anti => left.push(part),
            Side::Right if !kind.keeps_right() => right.push(part),
            _ => match pair(&part, of_left) {
                Some(pair) => equal.push(pair),
                None => rest.push(part),
            },
        }
    }
    let (output, names) = (rel.output.clone(), rel.output.names());
    let mut sides = rel.inputs.clone().into_iter();
    let (Some(left_side), Some(right_side)) = (sides.next(), sides.next()) else {
        return rel;
    };
    let mut left_side = Extended::new(filtered(left_side, left, 0));
    let mut right_side = Extended::new(filtered(right_side, right, of_left));
    let mut keys: Vec<JoinKey> = join.keys.clone();
    for pair in equal {
        let key = JoinKey {
            left: left_side.column(pair.left),
            right: right_side.column(
                pair.right
                    .map_columns(&|i, t| Expr::column(i - of_left, t.clone())),
            ),
            null_safe: pair.null_safe,
        };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let added = left_side.added();
    let moved = |expr: &Expr| {
        expr.map_columns(&|i, t| Expr::column(if i < of_left { i } else { i + added }, t.clone()))
    };
    let condition = all_of(rest.iter().map(moved).collect());
    let (interval, state_ttl, window) = (join.interval, join.state_ttl, join.window);
    let (left_side, right_side) = (left_side.build(), right_side.build());
    let join = Rel::join(
        left_side,
        right_side,
        Join {
            kind,
            keys,
            condition,
            interval,
            state_ttl,
            window,
        },
    );
    if join.output.fields.len() == output.fields.len() {
        return join;
    }
    let projection = output.fields.iter().enumerate().map(|(i, field)| {
        let at = if i < of_left { i } else { i + added };
        Expr::column(at, field.data_type.clone())
    });
    Rel::calc(join, None, projection.collect(), names)
}

/// Two values that must be equal, one of each side.
struct Pair {
    left: Expr,
    right: Expr,
    null_safe: bool,
}

fn pair(expr: &Expr, of_left: usize) -> Option<Pair> {
    let Expr::Call { function, args, .. } = expr else {
        return None;
    };
    let null_safe = match function.as_str() {
        "=" => false,
        "IS NOT DISTINCT FROM" => true,
        _ => return None,
    };
    let [a, b] = args.as_slice() else { return None };
    let (left, right) = match (side(a, of_left), side(b, of_left)) {
        (Side::Left, Side::Right) => (a.clone(), b.clone()),
        (Side::Right, Side::Left) => (b.clone(), a.clone()),
        _ => return None,
    };
    // Equal keys have equal bytes, and so one type.
    let (l, r) = (left.data_type().clone(), right.data_type().clone());
    if l.to_arrow() == r.to_arrow() {
        return Some(Pair {
            left,
            right,
            null_safe,
        });
    }
    let common = cast::common_type(&[l.clone(), r.clone()])?;
    let to = |value: Expr, nullable: bool| match value.data_type().kind == common.kind {
        true => Some(value),
        false => cast::cast(value, common.clone().with_nullable(nullable)).ok(),
    };
    Some(Pair {
        left: to(left, l.nullable)?,
        right: to(right, r.nullable)?,
        null_safe,
    })
}

/// A side with columns for keys that are none of its own.
struct Extended {
    rel: Rel,
    more: Vec<Expr>,
}

impl Extended {
    fn new(rel: Rel) -> Self {
        Extended {
            rel,
            more: Vec::new(),
        }
    }

    fn column(&mut self, expr: Expr) -> usize {
        if let Expr::Column { index, .. } = expr {
            return index;
        }
        let known = self.more.iter().position(|e| *e == expr);
        let index = known.unwrap_or_else(|| {
            self.more.push(expr);
            self.more.len() - 1
        });
        self.rel.output.fields.len() + index
    }

    fn added(&self) -> usize {
        self.more.len()
    }

    fn build(self) -> Rel {
        if self.more.is_empty() {
            return self.rel;
        }
        let mut projection = Rel::identity(&self.rel.output);
        let mut names = self.rel.output.names();
        names.extend((0..self.more.len()).map(|i| format!("$k{i}")));
        projection.extend(self.more);
        merge_calcs::apply(Rel::calc(self.rel, None, projection, names))
    }
}
