//! The cluster as a whole, the dashboard's settings, and the JobManager's process.

use serde::{Deserialize, Serialize};

/// `GET /overview`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overview {
    pub taskmanagers: usize,
    pub slots_total: usize,
    pub slots_available: usize,
    /// TaskManagers on which nothing new is placed; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taskmanagers_blocked: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots_free_and_blocked: Option<usize>,
    /// All jobs that are not at their end.
    pub jobs_running: usize,
    pub jobs_finished: usize,
    pub jobs_cancelled: usize,
    pub jobs_failed: usize,
    pub flink_version: String,
    pub flink_commit: String,
}

/// `GET /config`: what the dashboard is set up by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DashboardConfiguration {
    /// Milliseconds between two looks.
    pub refresh_interval: u64,
    pub timezone_name: String,
    /// Milliseconds that are added to UTC.
    pub timezone_offset: i32,
    pub flink_version: String,
    /// The commit and its time.
    pub flink_revision: String,
    pub features: Features,
}

/// What the dashboard offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Features {
    pub web_submit: bool,
    pub web_cancel: bool,
    pub web_rescale: bool,
    /// Whether it is a history server.
    pub web_history: bool,
}

/// One option of `GET /jobmanager/config` and `GET /jobs/:jobid/jobmanager/config`, which answer a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationEntry {
    pub key: String,
    /// Secrets are hidden.
    pub value: String,
}

/// `GET /jobmanager/environment`: of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub jvm: Jvm,
    pub classpath: Vec<String>,
}

/// The runtime: Flink's is a JVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jvm {
    pub version: String,
    pub arch: String,
    pub options: Vec<String>,
}

/// `GET /jobmanager/logs` and `GET /taskmanagers/:taskmanagerid/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    pub logs: Vec<LogFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    pub name: String,
    pub size: u64,
    /// When it was last written.
    pub mtime: i64,
}

/// `GET /jobmanager/thread-dump` and `GET /taskmanagers/:taskmanagerid/thread-dump`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadDump {
    pub thread_infos: Vec<ThreadInfo>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadInfo {
    pub thread_name: String,
    /// Name, state and stack, in lines.
    pub stringified_thread_info: String,
}

/// `GET /jobs/:jobid/jobmanager/log-url` and `GET /jobs/:jobid/taskmanagers/:taskmanagerid/log-url`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogUrl {
    pub url: String,
}

/// `GET /datasets`: results kept for later jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSets {
    pub data_sets: Vec<DataSet>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSet {
    pub id: String,
    pub is_complete: bool,
}
