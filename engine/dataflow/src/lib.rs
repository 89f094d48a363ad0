//! The dataflow graph: what the planner makes and the runtime executes.
//!
//! It may depend on `millrace-core` and `millrace-expr`; it knows no connector and no SQL.
//!
//! Layout: `table` a table as connectors see it, `graph` operators and edges as planned,
//! `job` the job graph: operators chained into vertices, with parallelism, `explain` both as text, `window` windows of time.

pub mod explain;
pub mod graph;
pub mod job;
pub mod table;
pub mod window;

pub use graph::{
    Changelog, ChangelogNormalize, Edge, Graph, GroupAggregate, Node, NodeId, Operator, Partitioning,
    SinkMaterializer, WindowTable,
};
pub use job::{ChainedOperator, JobEdge, JobGraph, Vertex};
pub use table::{MetadataField, SinkSpec, SourceSpec, TableSpec, WatermarkSpec};
pub use window::Window;
