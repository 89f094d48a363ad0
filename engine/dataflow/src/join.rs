//! Joins of two streams.

use millrace_expr::Expr;
use serde::{Deserialize, Serialize};

use crate::window::WindowColumns;

/// Which rows a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    /// Rows of the left that have a partner, without it.
    Semi,
    /// Rows of the left that have none.
    Anti,
}

impl JoinKind {
    /// Rows of the left without a partner come with nulls.
    pub fn keeps_left(self) -> bool {
        matches!(self, JoinKind::Left | JoinKind::Full)
    }

    /// Rows of the right without a partner come with nulls.
    pub fn keeps_right(self) -> bool {
        matches!(self, JoinKind::Right | JoinKind::Full)
    }

    /// The output has the left columns only.
    pub fn is_left_only(self) -> bool {
        matches!(self, JoinKind::Semi | JoinKind::Anti)
    }

    /// As Flink calls it in a plan.
    pub fn name(self) -> &'static str {
        match self {
            JoinKind::Inner => "InnerJoin",
            JoinKind::Left => "LeftOuterJoin",
            JoinKind::Right => "RightOuterJoin",
            JoinKind::Full => "FullOuterJoin",
            JoinKind::Semi => "LeftSemiJoin",
            JoinKind::Anti => "LeftAntiJoin",
        }
    }
}

/// A pair of columns that must be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinKey {
    pub left: usize,
    pub right: usize,
    /// IS NOT DISTINCT FROM: nulls are equal.
    pub null_safe: bool,
}

/// A join over all rows so far, as `StreamingJoinOperator`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    pub kind: JoinKind,
    pub keys: Vec<JoinKey>,
    /// What must be true besides, over the left columns, then the right ones.
    pub condition: Option<Expr>,
    pub left: JoinInput,
    pub right: JoinInput,
}

/// By what the rows of an input are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinInput {
    /// There is one row at most for a join key.
    JoinKeyContainsUniqueKey,
    /// By these columns, within a join key.
    HasUniqueKey(Vec<usize>),
    /// By all columns; equal rows are counted.
    NoUniqueKey,
}

/// A join of rows whose times are near to one another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntervalJoin {
    pub kind: JoinKind,
    pub keys: Vec<JoinKey>,
    /// All that must be true besides the keys, the bounds included.
    pub condition: Option<Expr>,
    pub bounds: IntervalBounds,
}

/// A join of rows of the same window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowJoin {
    pub kind: JoinKind,
    /// Beside the window.
    pub keys: Vec<JoinKey>,
    /// What must be true besides, over the left columns, then the right ones.
    pub condition: Option<Expr>,
    pub left: WindowColumns,
    pub right: WindowColumns,
}

/// left time - right time lies between `lower` and `upper`, in milliseconds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntervalBounds {
    pub lower: i64,
    pub upper: i64,
    pub is_rowtime: bool,
    /// The time columns of the left and of the right input.
    pub left_time: usize,
    pub right_time: usize,
}
