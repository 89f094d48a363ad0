//! Flink SQL: the text of a script in, dataflow graphs out.
//!
//! It may depend on `millrace-core`, `millrace-expr`, `millrace-dataflow` and
//! `millrace-connector-api`, and reaches connectors through a `Registry` only. Nothing here touches
//! the outside world: names, types and options are checked, topics and files are not.
//!
//! Invariants:
//! - A script is bound and planned as a whole before anything is returned.
//! - What is valid Flink SQL and not built is refused by its name; no clause is ever ignored.
//! - Names are case-sensitive; functions and keywords are not.
//! - Plans are deterministic: the same script and options give the same graph, uids included.
//!
//! Layout: `session` statements one by one; `parser` text to statements; `catalog` tables and
//! views; `binder` statements to typed plans (`plan`); `rules` plans to better plans, one rule a
//! file; `lower` plans to the graph, `aggregation` in how many phases GROUP BY is done, `uids` how
//! operators are known, `upsert_keys` what rows are known by, `monotonicity` how they change; `show` and
//! `json_plan` what is printed; `settings` options with one value; `error` errors with their place.

mod aggregation;
mod binder;
mod catalog;
mod error;
mod json_plan;
mod lower;
mod monotonicity;
mod parser;
mod plan;
mod rules;
mod session;
mod settings;
mod show;
mod uids;
mod upsert_keys;
mod window_properties;

pub use session::{Job, Outcome, Session};
