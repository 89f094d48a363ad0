//! Expressions against what Apache Flink 2.1.1 computes for them.

mod behaviour;
mod columns;
mod golden;
mod parser;
