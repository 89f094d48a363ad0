//! TaskManagers, and what their processes tell of themselves.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use millrace_cluster::inspection::{Question, Told};
use millrace_cluster::resources::{Capacity, TaskManagerInfo};
use millrace_core::Error;
use millrace_rest_types::number::Double;
use millrace_rest_types::task_managers::{
    AllocatedSlot, GarbageCollector, Hardware, MemoryConfiguration, Resource, TaskManager,
    TaskManagerDetails, TaskManagerMetrics, TaskManagers,
};

use crate::answer::{Answer, Failure, Result, ok};
use crate::figures::{Sample, Scope, number};
use crate::handlers::job_manager::{dumped, listed, text};
use crate::handlers::{Asked, State, no_file};
use crate::state::blocking;

const MIB: u64 = 1 << 20;

pub async fn all(state: State) -> Answer {
    let found = state.dispatcher().resources().task_managers();
    ok(&TaskManagers {
        taskmanagers: found.iter().map(shown).collect(),
    })
}

fn shown(info: &TaskManagerInfo) -> TaskManager {
    let Capacity {
        slots,
        managed_memory,
        process_memory,
        cpu_cores,
        ..
    } = info.capacity;
    let address = info.data_address.clone().unwrap_or_default();
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    TaskManager {
        id: info.id.clone(),
        path: format!("{}/taskmanager", info.capacity.host),
        data_port: port.unwrap_or(-1),
        jmx_port: -1,
        time_since_last_heartbeat: info.last_heartbeat,
        slots_number: slots,
        free_slots: info.free_slots,
        total_resource: resource(&info.capacity, slots),
        free_resource: resource(&info.capacity, info.free_slots),
        hardware: Hardware {
            cpu_cores: cpu_cores as u64,
            physical_memory: info.capacity.physical_memory as i64,
            // What is not keyed state's.
            free_memory: process_memory.saturating_sub(managed_memory) as i64,
            managed_memory: managed_memory as i64,
        },
        memory_configuration: MemoryConfiguration {
            task_heap: heap(&info.capacity),
            managed_memory: Some(managed_memory as i64),
            total_flink_memory: total(&info.capacity),
            total_process_memory: total(&info.capacity),
            framework_heap: Some(0),
            framework_off_heap: Some(0),
            task_off_heap: Some(0),
            network_memory: Some(0),
            jvm_metaspace: Some(0),
            jvm_overhead: Some(0),
        },
        blocked: info.is_draining.then_some(true),
    }
}

/// Of the process, where it has a bound.
fn total(capacity: &Capacity) -> Option<i64> {
    (capacity.process_memory > 0).then_some(capacity.process_memory as i64)
}

/// There is no heap of a JVM: what of the process is not for keyed state.
fn heap(capacity: &Capacity) -> Option<i64> {
    let own = capacity.process_memory.checked_sub(capacity.managed_memory)?;
    Some(own as i64)
}

/// The share of some of the slots.
fn resource(capacity: &Capacity, slots: usize) -> Resource {
    let share = slots as f64 / capacity.slots.max(1) as f64;
    let mib = |bytes: u64| (bytes as f64 * share) as i64 / MIB as i64;
    Resource {
        cpu_cores: Double(capacity.cpu_cores * share),
        task_heap_memory: mib(heap(capacity).unwrap_or(0) as u64),
        task_off_heap_memory: 0,
        managed_memory: mib(capacity.managed_memory),
        network_memory: 0,
        extended_resources: BTreeMap::new(),
    }
}

fn unknown(id: &str) -> Failure {
    Failure::inside(&format!(
        "org.apache.flink.runtime.resourcemanager.exceptions.UnknownTaskExecutorException: No TaskExecutor registered \
         under {id}."
    ))
}

pub async fn details(state: State, asked: Asked) -> Answer {
    let id = asked.text("taskmanagerid");
    let all = state.dispatcher().resources().task_managers();
    let info = all.iter().find(|info| info.id == id).ok_or_else(|| unknown(id))?;
    let samples = state
        .parts
        .metrics
        .samples(&Scope::TaskManager { id: id.to_owned() });
    ok(&TaskManagerDetails {
        task_manager: shown(info),
        allocated_slots: allocated(&state, info),
        metrics: metrics(&samples),
    })
}

/// A slot holds a subtask of each vertex of a job.
fn allocated(state: &State, info: &TaskManagerInfo) -> Vec<AllocatedSlot> {
    let mut slots = Vec::new();
    for job in state.dispatcher().jobs() {
        if job.state.is_terminal() {
            continue;
        }
        let here = job
            .executions
            .iter()
            .filter(|execution| execution.task_manager == info.id);
        let subtasks: BTreeSet<usize> = here.map(|execution| execution.subtask).collect();
        slots.extend(subtasks.iter().map(|_| AllocatedSlot {
            job_id: job.id.to_string(),
            resource: resource(&info.capacity, 1),
        }));
    }
    slots
}

/// Under the names that a JVM has for them.
fn metrics(samples: &[Sample]) -> TaskManagerMetrics {
    let value = |name: &str| number(samples, &format!("Status.{name}")).unwrap_or(0.0) as i64;
    TaskManagerMetrics {
        heap_used: value("JVM.Memory.Heap.Used"),
        heap_committed: value("JVM.Memory.Heap.Committed"),
        heap_max: value("JVM.Memory.Heap.Max"),
        non_heap_used: value("JVM.Memory.NonHeap.Used"),
        non_heap_committed: value("JVM.Memory.NonHeap.Committed"),
        non_heap_max: value("JVM.Memory.NonHeap.Max"),
        direct_count: value("JVM.Memory.Direct.Count"),
        direct_used: value("JVM.Memory.Direct.MemoryUsed"),
        direct_max: value("JVM.Memory.Direct.TotalCapacity"),
        mapped_count: value("JVM.Memory.Mapped.Count"),
        mapped_used: value("JVM.Memory.Mapped.MemoryUsed"),
        mapped_max: value("JVM.Memory.Mapped.TotalCapacity"),
        netty_shuffle_memory_segments_available: value("Shuffle.Netty.AvailableMemorySegments"),
        netty_shuffle_memory_segments_used: value("Shuffle.Netty.UsedMemorySegments"),
        netty_shuffle_memory_segments_total: value("Shuffle.Netty.TotalMemorySegments"),
        netty_shuffle_memory_available: value("Shuffle.Netty.AvailableMemory"),
        netty_shuffle_memory_used: value("Shuffle.Netty.UsedMemory"),
        netty_shuffle_memory_total: value("Shuffle.Netty.TotalMemory"),
        garbage_collectors: collectors(samples),
    }
}

fn collectors(samples: &[Sample]) -> Vec<GarbageCollector> {
    let named = samples.iter().filter_map(|(id, _)| {
        let name = id
            .strip_prefix("Status.JVM.GarbageCollector.")?
            .strip_suffix(".Count")?;
        Some(name.to_owned())
    });
    let names: BTreeSet<String> = named.collect();
    let value = |name: &str, figure: &str| {
        number(samples, &format!("Status.JVM.GarbageCollector.{name}.{figure}")).unwrap_or(0.0) as i64
    };
    let collector = |name: String| GarbageCollector {
        count: value(&name, "Count"),
        time: value(&name, "Time"),
        name,
    };
    names.into_iter().map(collector).collect()
}

/// Asks the process of a TaskManager. None: there is no such TaskManager.
async fn told(state: &State, asked: &Asked, question: Question) -> Result<Option<Told>> {
    let Some(gateway) = state
        .dispatcher()
        .resources()
        .gateway(asked.text("taskmanagerid"))
    else {
        return Ok(None);
    };
    Ok(Some(blocking(move || gateway.inspect(question)).await?))
}

fn misunderstood() -> Failure {
    Failure::of(&Error::internal(
        "a TaskManager answers another question than it was asked",
    ))
}

pub async fn logs(state: State, asked: Asked) -> Answer {
    let id = asked.text("taskmanagerid");
    match told(&state, &asked, Question::Files).await? {
        Some(Told::Files(files)) => ok(&listed(files)),
        Some(_) => Err(misunderstood()),
        None => Err(Failure::with(
            StatusCode::NOT_FOUND,
            format!("Could not find TaskExecutor {id}"),
        )),
    }
}

fn content(asked: &Asked, told: Option<Told>) -> Answer {
    let id = asked.text("taskmanagerid");
    match told {
        Some(Told::Content(Some(content))) => Ok(text(content)),
        Some(Told::Content(None)) => Err(Failure::inside(&format!(
            "org.apache.flink.util.FlinkException: Failed to transfer file from TaskExecutor {id}: The file {} is not \
             available on the TaskExecutor.",
            asked.text("filename")
        ))),
        Some(_) => Err(misunderstood()),
        None => Err(Failure::not_found(format!(
            "Failed to transfer file from TaskExecutor {id} because it was unknown."
        ))),
    }
}

pub async fn log_file(state: State, asked: Asked) -> Answer {
    let name = asked.text("filename").to_owned();
    if name.contains('/') {
        return Err(no_file(&format!(
            "/taskmanagers/{}/logs/{name}",
            asked.text("taskmanagerid")
        )));
    }
    let told = told(&state, &asked, Question::Content(name)).await?;
    content(&asked, told)
}

pub async fn log(state: State, asked: Asked) -> Answer {
    let told = told(&state, &asked, Question::Log).await?;
    content(&asked, told)
}

pub async fn stdout(state: State, asked: Asked) -> Answer {
    let told = told(&state, &asked, Question::StandardOutput).await?;
    content(&asked, told)
}

pub async fn thread_dump(state: State, asked: Asked) -> Answer {
    match told(&state, &asked, Question::Threads).await? {
        Some(Told::Threads(threads)) => ok(&dumped(threads)),
        Some(_) => Err(misunderstood()),
        None => Err(unknown(asked.text("taskmanagerid"))),
    }
}
