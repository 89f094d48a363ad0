//! Uploaded programs: in Flink jars, here SQL files and zips of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `POST /jars/upload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// The path on the server; its last part is the id by which it is run.
    pub filename: String,
    /// `success`.
    pub status: String,
}

/// `GET /jars`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jars {
    /// Of the REST server.
    pub address: String,
    /// The newest first.
    pub files: Vec<Jar>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jar {
    pub id: String,
    /// As it was called where it came from.
    pub name: String,
    pub uploaded: i64,
    pub entry: Vec<JarEntry>,
}

/// What can be run of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JarEntry {
    pub name: String,
    pub description: Option<String>,
}

/// `POST /jars/:jarid/run`, and with less in it `POST /jars/:jarid/plan`. What is null is not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JarRun {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_class: Option<String>,
    /// In one text, as Flink took it before 2.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_args: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_args_list: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flink_configuration: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_non_restored_state: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub savepoint_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_mode: Option<ClaimMode>,
    /// As `claim_mode`, under the name that it had before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_mode: Option<ClaimMode>,
}

/// Whose the checkpoint is that a job is restored from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClaimMode {
    /// The job's, which deletes it when it needs it no more.
    Claim,
    /// Its owner's: it is not touched, and the next checkpoint needs nothing of it.
    NoClaim,
    Legacy,
}

/// The answer to `POST /jars/:jarid/run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub jobid: String,
}
