//! What Apache Flink exposes, and which of it there is no such thing of here.

use std::collections::BTreeSet;

/// Recorded from Flink: see its first lines.
const RECORDED: &str = include_str!("flink-2.1.1.txt");

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub name: String,
    pub kind: String,
    pub labels: Vec<String>,
}

/// All that is recorded.
pub fn recorded() -> Vec<Recorded> {
    let mut all = Vec::new();
    let mut labels = Vec::new();
    for line in RECORDED
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        if let Some(rest) = line.strip_prefix('[') {
            let (names, _whose) = rest.split_once(']').unwrap();
            labels = names.split(',').map(str::to_owned).collect();
            continue;
        }
        let (name, kind) = line.split_once(' ').unwrap_or((line, "gauge"));
        all.push(Recorded {
            name: name.to_owned(),
            kind: kind.to_owned(),
            labels: labels.clone(),
        });
    }
    all
}

/// Names, or their beginnings where they end with `*`, that are left out, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "flink_taskmanager_job_task_operator_KafkaProducer_*",
        "figures of the Java client",
    ),
    (
        "flink_taskmanager_job_task_operator_KafkaSourceReader_KafkaConsumer_*",
        "figures of the Java client, but for those below",
    ),
    (
        "flink_taskmanager_job_task_operator_split_watermark_*",
        "splits have no watermarks of their own in a source",
    ),
    (
        "flink_taskmanager_job_task_operator_alreadyCommittedCommittables",
        "nobody else commits",
    ),
    (
        "flink_taskmanager_job_task_operator_failedCommittables",
        "a commit that fails for good fails the job",
    ),
    (
        "flink_taskmanager_job_task_operator_retriedCommittables",
        "commits are tried by the client until they are done",
    ),
    (
        "flink_taskmanager_job_task_changelogBusyTimeMsPerSecond",
        "there is no changelog state backend",
    ),
    (
        "flink_taskmanager_job_task_Shuffle_Netty_Input_Buffers_inputExclusiveBuffersUsage",
        "channels have one kind of room",
    ),
    (
        "flink_taskmanager_job_task_Shuffle_Netty_Input_Buffers_inputFloatingBuffersUsage",
        "channels have one kind of room",
    ),
    (
        "flink_jobmanager_job_lastCheckpointPersistedData",
        "checkpoints are aligned: no data in flight belongs to them",
    ),
    (
        "flink_jobmanager_job_lastCheckpointProcessedData",
        "checkpoints are aligned: no data in flight belongs to them",
    ),
];

/// Of the Java client's figures those that dashboards and alerts look at.
const OF_THE_CLIENT: [&str; 6] = [
    "records_lag_max",
    "records_consumed_rate",
    "records_consumed_total",
    "bytes_consumed_rate",
    "bytes_consumed_total",
    "assigned_partitions",
];

pub fn is_left_out(name: &str) -> bool {
    if let Some(figure) =
        name.strip_prefix("flink_taskmanager_job_task_operator_KafkaSourceReader_KafkaConsumer_")
    {
        return !OF_THE_CLIENT.contains(&figure);
    }
    LEFT_OUT
        .iter()
        .any(|(left_out, _)| match left_out.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == *left_out,
        })
}

/// Names that Flink's documentation, its older releases or dashboards have beside what was recorded.
pub const BESIDES: &[&str] = &[
    "flink_jobmanager_job_fullRestarts",
    "flink_taskmanager_job_task_buffers_inPoolUsage",
    "flink_taskmanager_job_task_buffers_outPoolUsage",
    "flink_taskmanager_job_task_buffers_inputQueueLength",
    "flink_taskmanager_job_task_buffers_outputQueueLength",
    "flink_taskmanager_job_task_operator_currentFetchEventTimeLag",
    "flink_taskmanager_Status_Network_AvailableMemorySegments",
    "flink_taskmanager_Status_Network_TotalMemorySegments",
];

#[test]
fn nothing_is_left_out_that_flink_does_not_have() {
    let names: BTreeSet<String> = recorded().into_iter().map(|recorded| recorded.name).collect();
    assert!(names.len() > 300, "{}", names.len());
    for (left_out, why) in LEFT_OUT {
        assert!(!why.is_empty());
        let is_there = match left_out.strip_suffix('*') {
            Some(beginning) => names.iter().any(|name| name.starts_with(beginning)),
            None => names.contains(*left_out),
        };
        assert!(is_there, "{left_out}");
    }
}
