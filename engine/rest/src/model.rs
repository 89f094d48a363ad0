//! A job at one moment, as its pages show it.

use std::collections::BTreeMap;

use millrace_rest_types::{ExecutionState, JobStatus};

/// Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// 32 hexadecimal digits.
    pub id: String,
    pub name: String,
    pub state: JobStatus,
    /// When it last came into each of the states that it has been in.
    pub timestamps: BTreeMap<JobStatus, i64>,
    /// `pipeline.max-parallelism`, if it is set.
    pub max_parallelism: Option<i64>,
    /// In topological order.
    pub vertices: Vec<Vertex>,
    pub edges: Vec<Edge>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Vertex {
    /// 32 hexadecimal digits.
    pub id: String,
    pub name: String,
    /// Its operators, a line each, without HTML.
    pub description: Vec<String>,
    pub parallelism: usize,
    pub max_parallelism: u32,
    /// 32 hexadecimal digits.
    pub slot_sharing_group: String,
    pub subtasks: Vec<Subtask>,
}

/// The present attempt of a subtask.
#[derive(Debug, Clone, PartialEq)]
pub struct Subtask {
    /// Counted from 0.
    pub attempt: u64,
    pub state: ExecutionState,
    /// When it came into each of the states that it has been in.
    pub timestamps: BTreeMap<ExecutionState, i64>,
    pub place: Option<Place>,
    pub io: Io,
}

/// A TaskManager.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub id: String,
    /// Host and data port.
    pub endpoint: String,
}

/// What has gone through a subtask, by channels to and from others. None: it has not told yet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Io {
    pub read_bytes: Option<u64>,
    pub write_bytes: Option<u64>,
    pub read_records: Option<u64>,
    pub write_records: Option<u64>,
    /// Milliseconds.
    pub back_pressured: u64,
    pub idle: u64,
    /// Not a number where it is not known.
    pub busy: f64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// By place in `Job::vertices`.
    pub from: usize,
    pub to: usize,
    /// Which of the reader's inputs it is.
    pub input: usize,
    /// `FORWARD`, `HASH`, `REBALANCE`, ...
    pub strategy: String,
}

impl Job {
    pub fn vertex(&self, id: &str) -> Option<&Vertex> {
        self.vertices.iter().find(|vertex| vertex.id == id)
    }

    pub fn began(&self) -> i64 {
        let first = self.timestamps.get(&JobStatus::Initializing);
        first
            .or_else(|| self.timestamps.values().min())
            .copied()
            .unwrap_or(0)
    }

    /// -1 before its end.
    pub fn ended(&self) -> i64 {
        match self.state.is_final() {
            true => self.timestamps.get(&self.state).copied().unwrap_or(-1),
            false => -1,
        }
    }

    /// Until its end, or until now.
    pub fn duration(&self, now: i64) -> i64 {
        let end = if self.state.is_final() { self.ended() } else { now };
        end - self.began()
    }
}

impl Subtask {
    /// When it came into a state; 0: never.
    pub fn at(&self, state: ExecutionState) -> i64 {
        self.timestamps.get(&state).copied().unwrap_or(0)
    }
}
