//! The formats from outside. Where a result could be guessed differently, it is what Apache Flink
//! 2.1.1 gave for the same input.

mod csv;
mod golden;
mod json;
mod json_random;
mod raw;
mod sql_type;
mod support;
