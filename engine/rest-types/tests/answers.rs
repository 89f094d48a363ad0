//! What Apache Flink has answered is read, and written again as it was.
//!
//! `answers.json` is written by `engine/rest/tests/rest/contract/refresh`.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use millrace_rest_types::Empty;
use millrace_rest_types::checkpoints::{Checkpoint, CheckpointConfig, Checkpoints, VertexCheckpointDetails};
use millrace_rest_types::cluster::{
    ConfigurationEntry, DashboardConfiguration, DataSets, Environment, LogUrl, Logs, Overview, ThreadDump,
};
use millrace_rest_types::exceptions::Exceptions;
use millrace_rest_types::jars::{Jars, Run, Uploaded};
use millrace_rest_types::jobs::{
    ExecutionResult, JobAccumulators, JobConfig, JobDetails, JobIds, JobStatusInfo, JobsOverview,
    ResourceRequirements,
};
use millrace_rest_types::metrics::{AggregatedMetric, Metric};
use millrace_rest_types::operations::{
    CheckpointInfo, OperationInfo, OperationResult, SavepointInfo, Triggered,
};
use millrace_rest_types::plan::PlanInfo;
use millrace_rest_types::task_managers::{TaskManagerDetails, TaskManagers};
use millrace_rest_types::vertices::{
    AttemptAccumulators, BackPressure, FlameGraph, SubtaskAttempt, SubtaskTimes, SubtasksAccumulators,
    VertexAccumulators, VertexDetails, VertexTaskManagers,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

type Check = fn(&Value) -> Result<(), String>;

fn same<T: Serialize + DeserializeOwned + Debug>(answer: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(answer.clone()).map_err(|e| format!("it cannot be read: {e}"))?;
    let written = serde_json::to_value(&read).map_err(|e| format!("it cannot be written: {e}"))?;
    match written == *answer {
        true => Ok(()),
        false => Err(format!("it is written otherwise:\n{written}\nnot\n{answer}")),
    }
}

/// The type of each path; the method counts where it makes a difference.
fn check_of(name: &str) -> Option<Check> {
    let (request, _) = name.split_once(" # ").unwrap_or((name, ""));
    let (method, path) = request.split_once(' ')?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let is_get = method == "GET";
    let is_aggregated = query.contains("get=");
    Some(match path {
        "/overview" => same::<Overview>,
        "/config" => same::<DashboardConfiguration>,
        "/datasets" => same::<DataSets>,
        "/jars" => same::<Jars>,
        "/jars/upload" => same::<Uploaded>,
        "/jars/:jarid/run" => same::<Run>,
        "/jars/:jarid/plan" | "/jobs/:jobid/plan" => same::<PlanInfo>,
        "/jobs" => same::<JobIds>,
        "/jobs/overview" => same::<JobsOverview>,
        "/jobs/:jobid" if is_get => same::<JobDetails>,
        "/jobs/:jobid/status" => same::<JobStatusInfo>,
        "/jobs/:jobid/config" => same::<JobConfig>,
        "/jobs/:jobid/accumulators" => same::<JobAccumulators>,
        "/jobs/:jobid/execution-result" => same::<ExecutionResult>,
        "/jobs/:jobid/resource-requirements" if is_get => same::<ResourceRequirements>,
        "/jobs/:jobid/exceptions" => same::<Exceptions>,
        "/jobs/:jobid/checkpoints" if is_get => same::<Checkpoints>,
        "/jobs/:jobid/checkpoints/config" => same::<CheckpointConfig>,
        "/jobs/:jobid/checkpoints/details/:checkpointid" => same::<Checkpoint>,
        "/jobs/:jobid/checkpoints/details/:checkpointid/subtasks/:vertexid" => {
            same::<VertexCheckpointDetails>
        }
        "/jobs/:jobid/checkpoints/:triggerid" => same::<OperationResult<CheckpointInfo>>,
        "/jobs/:jobid/savepoints/:triggerid" => same::<OperationResult<SavepointInfo>>,
        "/savepoint-disposal/:triggerid" => same::<OperationResult<OperationInfo>>,
        "/jobs/:jobid/savepoints"
        | "/jobs/:jobid/checkpoints"
        | "/jobs/:jobid/stop"
        | "/savepoint-disposal"
        | "/datasets/:triggerid" => same::<Triggered>,
        "/jobs/:jobid/jobmanager/config" | "/jobmanager/config" => same::<Vec<ConfigurationEntry>>,
        "/jobs/:jobid/jobmanager/environment" | "/jobmanager/environment" => same::<Environment>,
        "/jobs/:jobid/jobmanager/log-url" => same::<LogUrl>,
        "/jobmanager/logs" | "/taskmanagers/:taskmanagerid/logs" => same::<Logs>,
        "/jobmanager/thread-dump" | "/taskmanagers/:taskmanagerid/thread-dump" => same::<ThreadDump>,
        "/taskmanagers" => same::<TaskManagers>,
        "/taskmanagers/:taskmanagerid" => same::<TaskManagerDetails>,
        "/jobs/:jobid/vertices/:vertexid" => same::<VertexDetails>,
        "/jobs/:jobid/vertices/:vertexid/subtasktimes" => same::<SubtaskTimes>,
        "/jobs/:jobid/vertices/:vertexid/taskmanagers" => same::<VertexTaskManagers>,
        "/jobs/:jobid/vertices/:vertexid/accumulators" => same::<VertexAccumulators>,
        "/jobs/:jobid/vertices/:vertexid/subtasks/accumulators" => same::<SubtasksAccumulators>,
        "/jobs/:jobid/vertices/:vertexid/backpressure" => same::<BackPressure>,
        "/jobs/:jobid/vertices/:vertexid/flamegraph" => same::<FlameGraph>,
        "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex"
        | "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/attempts/:attempt" => {
            same::<SubtaskAttempt>
        }
        "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/attempts/:attempt/accumulators" => {
            same::<AttemptAccumulators>
        }
        "/jobs/metrics" | "/taskmanagers/metrics" | "/jobs/:jobid/vertices/:vertexid/subtasks/metrics"
            if is_aggregated =>
        {
            same::<Vec<AggregatedMetric>>
        }
        path if path.ends_with("metrics") || path.ends_with("/watermarks") => same::<Vec<Metric>>,
        "/cluster"
        | "/jars/:jarid"
        | "/jobs/:jobid"
        | "/jobs/:jobid/yarn-cancel"
        | "/jobs/:jobid/clientHeartbeat"
        | "/jobs/:jobid/resource-requirements" => same::<Empty>,
        _ => return None,
    })
}

#[test]
fn answers_of_flink_are_read_and_written_as_they_were() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers.json");
    let text = std::fs::read_to_string(file).unwrap();
    let answers: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    assert!(answers.len() > 80, "only {} answers", answers.len());
    let mut wrong = Vec::new();
    for (name, answer) in &answers {
        match check_of(name) {
            None => wrong.push(format!("{name}: there is no type for it")),
            Some(check) => wrong.extend(check(answer).err().map(|why| format!("{name}: {why}"))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
