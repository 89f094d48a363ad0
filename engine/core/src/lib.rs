//! What every other crate of the engine stands on: errors, identifiers, row kinds, typed
//! configuration options and the fail points of the torture test.
//!
//! It may depend on no other crate of the workspace and on nothing that does I/O.
//!
//! Layout: `error` the one error type that a person reads, `config` Flink's options with their
//! types, `sensitive` which of them are secrets, `duration`/`memory` Flink's notations for both, `ids` identifiers, `row_kind` the
//! changelog's row kinds, `row` rows as bytes, `key_group` who has which key, `failpoint` named
//! points at which a test kills the process.

pub mod config;
pub mod duration;
pub mod error;
pub mod failpoint;
pub mod ids;
pub mod key_group;
pub mod memory;
pub mod options;
pub mod row;
pub mod row_kind;
pub mod sensitive;

pub use config::{ConfigOption, Configuration};
pub use error::{Error, ErrorKind, Result};
pub use ids::{CheckpointId, JobId, VertexId};
pub use row_kind::RowKind;
