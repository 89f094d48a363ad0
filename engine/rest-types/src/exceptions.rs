//! What has made a job fail.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /jobs/:jobid/exceptions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exceptions {
    pub exception_history: ExceptionHistory,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionHistory {
    /// The newest first.
    pub entries: Vec<RootException>,
    /// Whether there are more than were asked for.
    pub truncated: bool,
}

/// A failure that ended an attempt, and others at about the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootException {
    #[serde(flatten)]
    pub exception: Exception,
    pub concurrent_exceptions: Vec<Exception>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// In Flink the name of a Java class.
    pub exception_name: String,
    pub stacktrace: String,
    pub timestamp: i64,
    /// The subtask, where it is one that failed: `vertex (1/2)`, with its attempt in Flink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    /// Host and data port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_manager_id: Option<String>,
    pub failure_labels: BTreeMap<String, String>,
}
