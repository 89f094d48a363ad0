//! Operators and edges as the planner makes them, before they are chained.

use millrace_expr::aggregate::AggregateCall;
use millrace_expr::{Expr, RowType};
use serde::{Deserialize, Serialize};

use crate::join::{IntervalJoin, Join, WindowJoin};
use crate::ranking::{OverAggregate, Rank, WindowRank};
use crate::table::{SinkSpec, SourceSpec, WatermarkSpec};
use crate::window::Window;

pub type NodeId = usize;

/// A plan: nodes in topological order (an input's id is smaller than its reader's).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    /// Stable over changes of the plan: what state is found again by.
    pub uid: String,
    /// Shown to people: `Source: flights`, `Calc`, `Sink: late_flights`.
    pub name: String,
    pub operator: Operator,
    pub inputs: Vec<Edge>,
    pub output: RowType,
    /// Given by `scan.parallelism`, `sink.parallelism`; else the job's default.
    pub parallelism: Option<usize>,
    /// The kinds of rows that it sends on.
    pub changelog: Changelog,
    /// For each input, how long what is kept of it lives since it was written last, in milliseconds; 0 and
    /// none: for ever.
    #[serde(default)]
    pub state_ttl: Vec<i64>,
}

impl Node {
    /// How long what is kept of an input lives, in milliseconds; 0: for ever.
    pub fn state_ttl(&self, input: usize) -> i64 {
        self.state_ttl.get(input).copied().unwrap_or(0)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    pub from: NodeId,
    pub partitioning: Partitioning,
}

/// How rows are spread over the subtasks of the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Partitioning {
    /// Subtask i to subtask i, in order; becomes `Rebalance` where parallelism differs.
    Forward,
    /// Batch by batch, round robin.
    Rebalance,
    /// Rows that are equal in these columns go to one subtask, in order; without columns all rows do.
    Hash { keys: Vec<usize> },
}

/// The kinds of rows that a stream can have, beside `+I`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Changelog {
    /// `+U`.
    pub updates: bool,
    /// `-U` before each `+U`. Without, an update is known by its key.
    pub before: bool,
    /// `-D`.
    pub deletes: bool,
}

impl Changelog {
    pub const INSERTS: Changelog = Changelog {
        updates: false,
        before: false,
        deletes: false,
    };

    /// Whether all rows are `+I`.
    pub fn is_inserts(self) -> bool {
        self == Changelog::INSERTS
    }

    /// As EXPLAIN shows it: `I,UB,UA,D`.
    pub fn kinds(self) -> String {
        let kinds = [
            (true, "I"),
            (self.updates && self.before, "UB"),
            (self.updates, "UA"),
            (self.deletes, "D"),
        ];
        let shown: Vec<&str> = kinds
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, name)| *name)
            .collect();
        shown.join(",")
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Operator {
    Source(SourceSpec),
    /// Filter, then projection.
    Calc {
        condition: Option<Expr>,
        projection: Vec<Expr>,
    },
    /// Assigns watermarks by event time; directly behind its source it works per split.
    Watermark(WatermarkSpec),
    /// A changelog by key made one of all kinds.
    ChangelogNormalize(ChangelogNormalize),
    /// `-U` rows go.
    DropUpdateBefore,
    Union,
    /// Rows given in the statement, without an input; one subtask gives each once, then ends. The
    /// expressions refer to no column and have exactly the output's types. No rows: an empty input.
    Values {
        rows: Vec<Vec<Expr>>,
    },
    /// Guards the NOT NULL columns of the sink behind it, given by index: a null in one of them
    /// fails the job, or with `drop` leaves its row out (`table.exec.sink.not-null-enforcer`).
    ConstraintEnforcer {
        not_null: Vec<usize>,
        drop: bool,
    },
    /// Each row in each of its windows: its columns, then where the window starts and ends, and its time.
    WindowTable(WindowTable),
    /// GROUP BY with windows: the output is the keys, the calls' results, then where the window starts
    /// and ends, and its time.
    WindowAggregate(WindowAggregate),
    /// Each row once for each of these, in their order, with a column more for the number.
    Expand(Vec<Expansion>),
    /// GROUP BY without windows: the output is the keys, then the calls' results.
    GroupAggregate(GroupAggregate),
    /// The first of two phases: for each bundle of rows its groups' states. The output is the keys, the
    /// number of rows where they can be taken back, and the fields of the calls' states.
    LocalGroupAggregate(GroupAggregate),
    /// The second, over what the first one gives; the calls' arguments are those of the first.
    GlobalGroupAggregate(GroupAggregate),
    /// The input's columns, then the row number where it is wanted.
    Rank(Rank),
    OverAggregate(OverAggregate),
    /// The left columns, then the right ones, except for SEMI and ANTI.
    Join(Join),
    IntervalJoin(IntervalJoin),
    /// As a join, within windows.
    WindowJoin(WindowJoin),
    /// As a rank, within windows.
    WindowRank(WindowRank),
    /// Holds the rows of each key of the sink behind it, to write the last of those that are left.
    SinkMaterializer(SinkMaterializer),
    Sink(SinkSpec),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangelogNormalize {
    /// The columns of the key, by index.
    pub keys: Vec<usize>,
    /// Only rows that pass are kept and sent on.
    pub condition: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkMaterializer {
    /// The columns of the sink's key, by index.
    pub keys: Vec<usize>,
    /// Columns that tell rows of the input apart, and of which a later row replaces an earlier one;
    /// none: rows are told apart as a whole.
    pub upsert_key: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowTable {
    pub window: Window,
    /// The column of the event time; none goes by the clock.
    pub time: Option<usize>,
    /// Of sessions: the columns of which each has its own.
    #[serde(default)]
    pub partition: Vec<usize>,
}

/// A row as it goes to one of several grouping sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expansion {
    /// Columns that are null, by index.
    pub nulls: Vec<usize>,
    /// What tells it from the others.
    pub id: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupAggregate {
    /// Columns of the input, by index.
    pub keys: Vec<usize>,
    pub calls: Vec<AggregateCall>,
    /// The input takes rows back.
    pub retracts: bool,
    /// Results are given for many rows at once; both phases have it.
    #[serde(default)]
    pub mini_batch: Option<MiniBatch>,
}

/// When rows that wait are worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MiniBatch {
    /// So many rows wait at most.
    pub rows: usize,
    /// So long the first of them waits at most.
    pub latency_millis: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowAggregate {
    pub windowing: Windowing,
    /// Columns of the input, by index, beside the window.
    pub keys: Vec<usize>,
    pub calls: Vec<AggregateCall>,
    /// The input takes rows back.
    pub retracts: bool,
    /// Flink puts rows together between watermarks that end slices, and adds them to the state then.
    pub in_parts: bool,
}

/// Where the windows of rows come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Windowing {
    /// They are laid over the time in a column; without one, over the clock.
    Laid { window: Window, time: Option<usize> },
    /// Columns of the rows say where theirs start and end. `window` is what made them.
    Given {
        window: Window,
        start: usize,
        end: usize,
        is_proctime: bool,
    },
}

impl Operator {
    /// Whether it keeps state by key, and has to get all rows of a key in one subtask.
    pub fn is_keyed(&self) -> bool {
        match self {
            Operator::GroupAggregate(_)
            | Operator::GlobalGroupAggregate(_)
            | Operator::WindowAggregate(_)
            | Operator::Rank(_)
            | Operator::OverAggregate(_)
            | Operator::Join(_)
            | Operator::IntervalJoin(_)
            | Operator::WindowJoin(_)
            | Operator::WindowRank(_)
            | Operator::ChangelogNormalize(_)
            | Operator::SinkMaterializer(_) => true,
            Operator::Source(_)
            | Operator::Calc { .. }
            | Operator::Watermark(_)
            | Operator::Union
            | Operator::Values { .. }
            | Operator::ConstraintEnforcer { .. }
            | Operator::DropUpdateBefore
            | Operator::Expand(_)
            | Operator::LocalGroupAggregate(_)
            | Operator::Sink(_) => false,
            Operator::WindowTable(table) => matches!(table.window, Window::Session { .. }),
        }
    }
}

impl Graph {
    /// Appends a node and gives its id.
    pub fn add(
        &mut self,
        uid: String,
        name: String,
        operator: Operator,
        inputs: Vec<Edge>,
        output: RowType,
    ) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node {
            id,
            uid,
            name,
            operator,
            inputs,
            output,
            parallelism: None,
            changelog: Changelog::INSERTS,
            state_ttl: Vec::new(),
        });
        id
    }
}
