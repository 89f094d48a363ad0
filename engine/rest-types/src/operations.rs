//! What is triggered by one request and asked for by others: savepoints, checkpoints, disposal.

use serde::{Deserialize, Serialize};

/// The answer to a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Triggered {
    /// By which the operation is asked for.
    pub request_id: String,
}

/// The state of an operation, and what has become of it: null while it is in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationResult<T> {
    pub status: QueueStatus,
    pub operation: Option<T>,
}

impl<T> OperationResult<T> {
    pub fn in_progress() -> Self {
        OperationResult {
            status: QueueStatus {
                id: QueueState::InProgress,
            },
            operation: None,
        }
    }

    pub fn completed(operation: T) -> Self {
        OperationResult {
            status: QueueStatus {
                id: QueueState::Completed,
            },
            operation: Some(operation),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    pub id: QueueState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum QueueState {
    InProgress,
    Completed,
}

/// An exception of Java.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SerializedThrowable {
    pub class: String,
    pub stack_trace: String,
    /// A `SerializedThrowable` as Java serializes it, in base64: clients in Java read only this.
    pub serialized_throwable: String,
}

/// `POST /jobs/:jobid/savepoints`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavepointTrigger {
    /// None: `execution.checkpointing.savepoint-dir`.
    #[serde(rename = "target-directory", default)]
    pub target_directory: Option<String>,
    /// Whether the job is canceled when the savepoint is complete.
    #[serde(rename = "cancel-job", default, deserialize_with = "or_default")]
    pub cancel_job: bool,
    /// Given by the client, so that the request can be repeated.
    #[serde(rename = "triggerId", default)]
    pub trigger_id: Option<String>,
    #[serde(rename = "formatType", default)]
    pub format_type: Option<SavepointFormat>,
}

/// `POST /jobs/:jobid/stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopWithSavepoint {
    #[serde(default)]
    pub target_directory: Option<String>,
    /// Whether sources end for good: the highest watermark is sent.
    #[serde(default, deserialize_with = "or_default")]
    pub drain: bool,
    #[serde(default)]
    pub trigger_id: Option<String>,
    #[serde(default)]
    pub format_type: Option<SavepointFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SavepointFormat {
    Canonical,
    Native,
}

/// `GET /jobs/:jobid/savepoints/:triggerid`: one of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SavepointInfo {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_cause: Option<SerializedThrowable>,
}

/// `POST /jobs/:jobid/checkpoints`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointTrigger {
    #[serde(default)]
    pub trigger_id: Option<String>,
    #[serde(default)]
    pub checkpoint_type: Option<CheckpointType>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckpointType {
    Configured,
    Full,
    Incremental,
}

/// `GET /jobs/:jobid/checkpoints/:triggerid`: one of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointInfo {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_cause: Option<SerializedThrowable>,
}

/// `POST /savepoint-disposal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SavepointDisposal {
    /// Must be given.
    #[serde(default)]
    pub savepoint_path: Option<String>,
}

/// `GET /savepoint-disposal/:triggerid` and `GET /datasets/delete/:triggerid`: nothing where it went well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OperationInfo {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_cause: Option<SerializedThrowable>,
}

/// `PATCH /jobs/:jobid/clientHeartbeat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientHeartbeat {
    /// Until when the client is taken to be there.
    #[serde(default)]
    pub expired_timestamp: i64,
}

/// Java takes null for what is not given.
fn or_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_or_null_is_as_if_not_given() {
        let trigger: SavepointTrigger =
            serde_json::from_str(r#"{"cancel-job": null, "target-directory": null, "other": 1}"#).unwrap();
        assert_eq!(trigger, SavepointTrigger::default());
        let stop: StopWithSavepoint = serde_json::from_str(r#"{"drain": true}"#).unwrap();
        assert!(stop.drain && stop.target_directory.is_none());
    }
}
