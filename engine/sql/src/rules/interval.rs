//! Whether a join is one of rows whose times are near to one another: its condition bounds the time
//! of each side by that of the other.

use millrace_dataflow::{IntervalBounds, JoinKind};
use millrace_expr::{Expr, Scalar};

use super::expressions::{conjuncts, mirrored};
use crate::plan::{Rel, TimeAttribute};

/// The bounds that a condition over both sides gives, if it does.
pub(crate) fn bounds(
    left: &Rel,
    right: &Rel,
    kind: JoinKind,
    condition: Option<&Expr>,
) -> Option<IntervalBounds> {
    if kind.is_left_only() {
        return None;
    }
    let of_left = left.output.fields.len();
    let mut found: Option<Found> = None;
    for part in conjuncts(condition?.clone()) {
        for (operator, a, b) in comparisons(&part) {
            let (Some(a), Some(b)) = (moment(a), moment(b)) else {
                continue;
            };
            let (l, r, operator) = match (a.column < of_left, b.column < of_left) {
                (true, false) => (a, b, operator),
                (false, true) => (b, a, mirrored(operator)),
                _ => continue,
            };
            let (l_time, r_time) = (
                left.time_attribute(l.column),
                right.time_attribute(r.column - of_left),
            );
            let (Some(attribute), true) = (l_time, l_time == r_time) else {
                continue;
            };
            let found = found.get_or_insert(Found {
                left: l.column,
                right: r.column - of_left,
                attribute,
                lower: None,
                upper: None,
            });
            if (found.left, found.right) != (l.column, r.column - of_left) {
                continue;
            }
            // left + l <op> right + r, so left - right <op> r - l.
            let difference = r.offset.saturating_sub(l.offset);
            match operator {
                ">" => found.at_least(difference.saturating_add(1)),
                ">=" => found.at_least(difference),
                "<" => found.at_most(difference.saturating_sub(1)),
                "<=" => found.at_most(difference),
                _ => {
                    found.at_least(difference);
                    found.at_most(difference);
                }
            }
        }
    }
    let found = found?;
    Some(IntervalBounds {
        lower: found.lower?,
        upper: found.upper?,
        is_rowtime: found.attribute == TimeAttribute::Rowtime,
        left_time: found.left,
        right_time: found.right,
    })
}

struct Found {
    left: usize,
    right: usize,
    attribute: TimeAttribute,
    lower: Option<i64>,
    upper: Option<i64>,
}

impl Found {
    fn at_least(&mut self, bound: i64) {
        self.lower = Some(self.lower.map_or(bound, |known| known.max(bound)));
    }

    fn at_most(&mut self, bound: i64) {
        self.upper = Some(self.upper.map_or(bound, |known| known.min(bound)));
    }
}

/// A column and so many milliseconds.
struct Moment {
    column: usize,
    offset: i64,
}

fn moment(expr: &Expr) -> Option<Moment> {
    match expr {
        Expr::Column { index, .. } => Some(Moment {
            column: *index,
            offset: 0,
        }),
        Expr::Call { function, args, .. } => {
            let sign = match function.as_str() {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let (base, length) = match args.as_slice() {
                [
                    base,
                    Expr::Literal {
                        value: Scalar::Millis(m),
                        ..
                    },
                ] => (base, *m),
                [
                    Expr::Literal {
                        value: Scalar::Millis(m),
                        ..
                    },
                    base,
                ] if sign == 1 => (base, *m),
                _ => return None,
            };
            let base = moment(base)?;
            Some(Moment {
                offset: base.offset.saturating_add(sign * length),
                ..base
            })
        }
        _ => None,
    }
}

/// The comparisons that a condition consists of.
fn comparisons(expr: &Expr) -> Vec<(&str, &Expr, &Expr)> {
    let Expr::Call { function, args, .. } = expr else {
        return Vec::new();
    };
    match (function.as_str(), args.as_slice()) {
        ("BETWEEN", [x, low, high]) => vec![(">=", x, low), ("<=", x, high)],
        (operator @ (">" | ">=" | "<" | "<=" | "="), [a, b]) => vec![(operator, a, b)],
        _ => Vec::new(),
    }
}
