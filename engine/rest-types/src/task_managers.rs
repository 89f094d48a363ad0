//! TaskManagers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::number::Double;

/// `GET /taskmanagers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskManagers {
    pub taskmanagers: Vec<TaskManager>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskManager {
    pub id: String,
    /// Where the JobManager reaches it.
    pub path: String,
    pub data_port: i32,
    /// -1: none.
    pub jmx_port: i32,
    /// The time of the last heartbeat.
    pub time_since_last_heartbeat: i64,
    pub slots_number: usize,
    pub free_slots: usize,
    pub total_resource: Resource,
    pub free_resource: Resource,
    pub hardware: Hardware,
    pub memory_configuration: MemoryConfiguration,
    /// Whether nothing new is placed there; left out where it is not so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<bool>,
}

/// In MiB, but for the cores.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    pub cpu_cores: Double,
    pub task_heap_memory: i64,
    pub task_off_heap_memory: i64,
    pub managed_memory: i64,
    pub network_memory: i64,
    pub extended_resources: BTreeMap<String, Double>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hardware {
    pub cpu_cores: u64,
    /// Of the machine.
    pub physical_memory: i64,
    /// In Flink the heap of the JVM.
    pub free_memory: i64,
    pub managed_memory: i64,
}

/// What of the process's memory is for what. None: without a bound, or not told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryConfiguration {
    pub framework_heap: Option<i64>,
    pub task_heap: Option<i64>,
    pub framework_off_heap: Option<i64>,
    pub task_off_heap: Option<i64>,
    pub network_memory: Option<i64>,
    pub managed_memory: Option<i64>,
    pub jvm_metaspace: Option<i64>,
    pub jvm_overhead: Option<i64>,
    pub total_flink_memory: Option<i64>,
    pub total_process_memory: Option<i64>,
}

/// `GET /taskmanagers/:taskmanagerid`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskManagerDetails {
    #[serde(flatten)]
    pub task_manager: TaskManager,
    pub allocated_slots: Vec<AllocatedSlot>,
    pub metrics: TaskManagerMetrics,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocatedSlot {
    pub job_id: String,
    pub resource: Resource,
}

/// Bytes, but for counts; -1: without a bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskManagerMetrics {
    pub heap_used: i64,
    pub heap_committed: i64,
    pub heap_max: i64,
    pub non_heap_used: i64,
    pub non_heap_committed: i64,
    pub non_heap_max: i64,
    pub direct_count: i64,
    pub direct_used: i64,
    pub direct_max: i64,
    pub mapped_count: i64,
    pub mapped_used: i64,
    pub mapped_max: i64,
    pub netty_shuffle_memory_segments_available: i64,
    pub netty_shuffle_memory_segments_used: i64,
    pub netty_shuffle_memory_segments_total: i64,
    pub netty_shuffle_memory_available: i64,
    pub netty_shuffle_memory_used: i64,
    pub netty_shuffle_memory_total: i64,
    pub garbage_collectors: Vec<GarbageCollector>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarbageCollector {
    pub name: String,
    pub count: i64,
    pub time: i64,
}
