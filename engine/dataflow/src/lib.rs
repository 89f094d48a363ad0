//! The dataflow graph: what the planner makes and the runtime executes.
//!
//! It may depend on `millrace-core` and `millrace-expr`; it knows no connector and no SQL.
//!
//! Layout: `table` a table as connectors see it, `graph` operators and edges as planned,
//! `job` the job graph: operators chained into vertices, with parallelism, `explain` both as text, `window` windows of time,
//! `ranking` top-N and OVER, `join` joins, `lineage` what columns and rows come from.

pub mod explain;
pub mod graph;
pub mod job;
pub mod join;
pub mod lineage;
pub mod ranking;
pub mod table;
pub mod window;

pub use graph::{
    Changelog, ChangelogNormalize, Edge, Expansion, Graph, GroupAggregate, MiniBatch, Node, NodeId, Operator,
    Partitioning, SinkMaterializer, WindowAggregate, WindowTable, Windowing,
};
pub use job::{ChainedOperator, JobEdge, JobGraph, Vertex};
pub use join::{IntervalBounds, IntervalJoin, Join, JoinInput, JoinKey, JoinKind, WindowJoin};
pub use ranking::{
    Deduplicate, Frame, OverAggregate, OverCall, OverFunction, Rank, RankStrategy, SortKey, TimeKind,
    WindowRank,
};
pub use table::{MetadataField, SinkSpec, SourceSpec, TableSpec, WatermarkSpec};
pub use window::{Window, WindowColumns};
