//! A filter on ROW_NUMBER is a top-N: `SELECT ... FROM (SELECT ..., ROW_NUMBER() OVER (PARTITION BY
//! ... ORDER BY ...) AS rn FROM t) WHERE rn <= 3`. The number is handed on only where it is read.

use std::collections::BTreeSet;

use millrace_core::{Error, Result};
use millrace_dataflow::{Frame, OverFunction, Window, WindowColumns};
use millrace_expr::{DataType, Expr, Scalar, TypeKind};

use super::expressions::{add_columns, all_of, conjuncts, mirrored};
use crate::plan::{Op, Over, Rank, Rel};

pub(super) fn apply(rel: Rel) -> Result<Rel> {
    let mut rel = top_n(rel)?;
    if let Op::Over(over) = &rel.op {
        check(over)?;
    }
    rel.inputs = rel.inputs.into_iter().map(apply).collect::<Result<_>>()?;
    Ok(rel)
}

/// What is no top-N goes by time, forwards.
fn check(over: &Over) -> Result<()> {
    match over.order.as_slice() {
        [key] if key.time.is_some() && !key.descending => Ok(()),
        _ => Err(Error::user(
            "ROW_NUMBER over a stream that is neither ordered by time nor limited",
        )
        .with_hint(
            "filter the rows by it in the query around, with an upper bound such as WHERE rn <= 10, or order them \
             by a time attribute",
        )),
    }
}

/// The range of numbers that conditions leave.
struct Range {
    start: i64,
    end: Option<i64>,
}

fn top_n(rel: Rel) -> Result<Rel> {
    let Op::Calc {
        condition: Some(condition),
        projection,
    } = &rel.op
    else {
        return Ok(rel);
    };
    let Op::Over(over) = &rel.inputs[0].op else {
        return Ok(rel);
    };
    let number = rel.inputs[0].inputs[0].output.fields.len();
    let [only] = over.calls.as_slice() else {
        return Ok(rel);
    };
    if only.function != OverFunction::RowNumber || over.frame != Frame::Rows(None) {
        return Ok(rel);
    }
    let mut range = Range { start: 1, end: None };
    let mut found = false;
    let mut rest = Vec::new();
    for conjunct in conjuncts(condition.clone()) {
        match limit(&conjunct, number, &mut range) {
            true => found = true,
            false => {
                check_limit(&conjunct, number)?;
                rest.push(conjunct);
            }
        }
    }
    if !found {
        return Ok(rel);
    }
    let Some(end) = range.end else {
        return Err(Error::user("a top-N has no upper bound").with_hint(
            "a row number over a stream is limited from above, as in WHERE rn <= 10: all rows have one, and each new \
             row would change those of all behind it",
        ));
    };
    if over.order.is_empty() {
        return Err(Error::user("ROW_NUMBER is OVER a window without ORDER BY")
            .with_hint("say by which column the rows are numbered"));
    }
    let (Ok(start), Ok(end)) = (u64::try_from(range.start.max(1)), u64::try_from(end)) else {
        return Ok(Rel::empty(rel.output));
    };
    if end < start {
        return Ok(Rel::empty(rel.output));
    }
    // The clock says nothing beside other columns: it is read later, when a row goes on.
    let mut order = over.order.clone();
    if order.len() > 1 {
        order.retain(|key| !key.is_clock());
    }
    let mut read = BTreeSet::new();
    projection
        .iter()
        .chain(&rest)
        .for_each(|e| add_columns(e, &mut read));
    let is_constant = start == end;
    let input = &rel.inputs[0].inputs[0];
    let mut kept = read.clone();
    kept.extend(over.partition.iter().chain(order.iter().map(|key| &key.column)));
    let is_first = matches!(order.as_slice(), [key] if key.time.is_some() && start == 1 && end == 1);
    let window = window(input, &over.partition, &kept, is_first)?;
    let rank = Rank {
        partition: over.partition.clone(),
        order,
        start,
        end,
        with_number: read.contains(&number) && !is_constant,
        window,
    };
    let constant = |expr: &Expr| {
        expr.map_columns(&|index, data_type| match index == number && is_constant {
            true => Expr::literal(Scalar::Integer(end as i64), DataType::not_null(TypeKind::BigInt)),
            false => Expr::column(index, data_type.clone()),
        })
    };
    let condition = all_of(rest.iter().map(constant).collect());
    let projection = projection.iter().map(constant).collect();
    let names = rel.output.names();
    let mut over = rel.inputs;
    let input = over.swap_remove(0).inputs.swap_remove(0);
    Ok(Rel::calc(Rel::rank(input, rank), condition, projection, names))
}

/// The windows that partitions are within, if they are: both bounds are among the columns that rows are
/// partitioned by. `kept` are the columns that somebody reads.
fn window(
    input: &Rel,
    partition: &[usize],
    kept: &BTreeSet<usize>,
    is_first: bool,
) -> Result<Option<WindowColumns>> {
    let Some((columns, property)) = input.window_columns(partition) else {
        return Ok(None);
    };
    if property.is_proctime {
        let what = if is_first { "deduplication" } else { "top-N" };
        return Err(Error::user(format!(
            "a {what} within windows by the clock: Flink refuses it too"
        ))
        .with_hint("lay the windows over a time with a WATERMARK"));
    }
    // As to Flink: of sessions whose keys are gone nobody knows when they are over.
    if let Window::Session { .. } = property.window
        && !input.has_aggregated_windows()
    {
        let of_sessions = input.session_columns();
        if !of_sessions.is_some_and(|columns| columns.iter().all(|c| kept.contains(c))) {
            return Ok(None);
        }
    }
    Ok(Some(columns))
}

/// A row number that is compared with a fraction, which Flink takes for no limit at all.
fn check_limit(expr: &Expr, number: usize) -> Result<()> {
    let Expr::Call { function, args, .. } = expr else {
        return Ok(());
    };
    let is_number = |e: &Expr| {
        let Expr::Cast {
            expr: inner,
            data_type,
            ..
        } = e
        else {
            return false;
        };
        !is_integer(data_type) && matches!(strip(inner), Expr::Column { index, .. } if *index == number)
    };
    let is_literal = |e: &Expr| matches!(e, Expr::Literal { .. });
    match (function.as_str(), args.as_slice()) {
        ("<" | "<=" | ">" | ">=" | "=", [a, b])
            if is_number(a) && is_literal(b) || is_number(b) && is_literal(a) =>
        {
            Err(
                Error::user("a row number is compared with a number that is not a whole one")
                    .with_hint("compare it with a whole number, as in WHERE rn <= 2"),
            )
        }
        _ => Ok(()),
    }
}

/// Takes a condition on the number into the range, if it is one with a constant.
fn limit(expr: &Expr, number: usize, range: &mut Range) -> bool {
    let Expr::Call { function, args, .. } = expr else {
        return false;
    };
    let is_number = |e: &Expr| matches!(strip(e), Expr::Column { index, .. } if *index == number);
    match (function.as_str(), args.as_slice()) {
        ("BETWEEN", [x, low, high]) if is_number(x) => match (integer(low), integer(high)) {
            (Some(low), Some(high)) => {
                range.at_least(low);
                range.at_most(high);
                true
            }
            _ => false,
        },
        (operator, [left, right]) => {
            let (operator, value) = match (is_number(left), is_number(right)) {
                (true, false) => (operator, integer(right)),
                (false, true) => (mirrored(operator), integer(left)),
                _ => return false,
            };
            let Some(value) = value else { return false };
            match operator {
                "<" => range.at_most(value.saturating_sub(1)),
                "<=" => range.at_most(value),
                ">" => range.at_least(value.saturating_add(1)),
                ">=" => range.at_least(value),
                "=" => {
                    range.at_least(value);
                    range.at_most(value);
                }
                _ => return false,
            }
            true
        }
        _ => false,
    }
}

impl Range {
    fn at_least(&mut self, value: i64) {
        self.start = self.start.max(value);
    }

    fn at_most(&mut self, value: i64) {
        self.end = Some(self.end.map_or(value, |end| end.min(value)));
    }
}

/// What stands in a widening cast.
fn strip(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast {
            expr: inner,
            data_type,
            ..
        } if is_integer(data_type) && is_integer(inner.data_type()) => strip(inner),
        other => other,
    }
}

fn is_integer(data_type: &DataType) -> bool {
    matches!(
        data_type.kind,
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt
    )
}

fn integer(expr: &Expr) -> Option<i64> {
    match strip(expr) {
        Expr::Literal {
            value: Scalar::Integer(value),
            ..
        } => Some(*value),
        _ => None,
    }
}
