//! The bodies of Flink's REST API, field for field as Apache Flink 2.1 answers and takes them: for the server, the
//! command line, the operator and tests.
//!
//! It depends on serde alone. It holds shapes and no logic: how a body is made of a job is the server's.
//!
//! Conventions, unless a field says otherwise:
//! - Ids of jobs, vertices and triggers are 32 lower-case hexadecimal digits.
//! - Times are milliseconds since 1970 in UTC; durations are milliseconds; sizes are bytes. What has not happened yet
//!   has the time -1 where it is an end, and 0 where it is one of a map of times.
//! - A field that Flink leaves out is an `Option` that is not written when it is none; one that Flink writes as null is
//!   written.
//!
//! Layout: `cluster` overview, dashboard, JobManager; `jobs` lists, one job, its configuration and result; `plan` its
//! graph; `vertices` vertices and subtasks; `checkpoints` their statistics; `exceptions`; `operations` what is triggered
//! and asked for later; `jars` uploads; `metrics`; `task_managers`; `states`; `number` what JSON has no number for.

pub mod checkpoints;
pub mod cluster;
pub mod exceptions;
pub mod jars;
pub mod jobs;
pub mod metrics;
pub mod number;
pub mod operations;
pub mod plan;
pub mod states;
pub mod task_managers;
pub mod vertices;

use serde::{Deserialize, Serialize};

pub use number::Double;
pub use states::{ExecutionState, JobStatus};

/// What is answered with every status of 300 and more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    pub errors: Vec<String>,
}

/// An answer that says nothing: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}
