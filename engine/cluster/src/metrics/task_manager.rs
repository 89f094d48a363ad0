//! All that a TaskManager's process shows.

use std::sync::Arc;

use millrace_runtime::TaskMetrics;
use millrace_runtime::operators::now_millis;

use super::task;
use super::{Group, Metric, Process, Scope};
use crate::task_manager::TaskManager;

pub struct TaskManagerMetrics {
    pub process: Process,
    /// As others reach it.
    pub host: String,
    pub manager: Arc<TaskManager>,
    /// Bytes for keyed state.
    pub managed_memory: u64,
}

/// What waits in the channels that are read here, and what has room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shuffle {
    pub elements: usize,
    pub used: usize,
    pub capacity: usize,
}

/// Flink's memory segments are of this size.
const SEGMENT: usize = 32 << 10;

impl Shuffle {
    /// Of these subtasks.
    pub fn of<'a>(tasks: impl IntoIterator<Item = &'a Arc<TaskMetrics>>) -> Self {
        let mut all = Shuffle::default();
        for task in tasks {
            let size = |gauge: &millrace_runtime::metrics::Gauge| gauge.get().max(0) as usize;
            all.elements += size(&task.buffers.input_length);
            all.used += size(&task.buffers.input_bytes);
            all.capacity += size(&task.buffers.input_capacity);
        }
        all
    }

    fn metrics(self) -> Vec<Metric> {
        let used = self.used.min(self.capacity);
        let segments = |bytes: usize| bytes.div_ceil(SEGMENT);
        let total = segments(self.capacity);
        let requested = match self.capacity {
            0 => 0,
            capacity => used * 100 / capacity,
        };
        let gauge = |name: &str, value: usize| Metric::gauge(format!("Status.Shuffle.Netty.{name}"), value);
        let mut metrics = vec![
            gauge("TotalMemory", self.capacity),
            gauge("UsedMemory", used),
            gauge("AvailableMemory", self.capacity - used),
            gauge("TotalMemorySegments", total),
            gauge("UsedMemorySegments", segments(used)),
            gauge("AvailableMemorySegments", total - segments(used)),
            gauge("RequestedMemoryUsage", requested),
        ];
        // As older dashboards have them.
        metrics.push(Metric::gauge("Status.Network.TotalMemorySegments", total));
        metrics.push(Metric::gauge(
            "Status.Network.AvailableMemorySegments",
            total - segments(used),
        ));
        metrics
    }
}

impl TaskManagerMetrics {
    /// Of the TaskManager's own scope.
    pub fn own(&self) -> Vec<Metric> {
        self.own_with(&self.tasks())
    }

    fn tasks(&self) -> Vec<Arc<TaskMetrics>> {
        let tasks = self.manager.metrics();
        tasks.into_iter().map(|(_, _, metrics)| metrics).collect()
    }

    fn own_with(&self, tasks: &[Arc<TaskMetrics>]) -> Vec<Metric> {
        let shuffle = Shuffle::of(tasks);
        let mut own = self
            .process
            .metrics((shuffle.elements, shuffle.used, shuffle.capacity));
        own.extend(shuffle.metrics());
        let group = "Status.Flink.Memory.Managed";
        own.push(Metric::gauge(
            format!("{group}.Used"),
            self.manager.managed_memory_used(),
        ));
        own.push(Metric::gauge(format!("{group}.Total"), self.managed_memory));
        own
    }

    /// All of it.
    pub fn groups(&self) -> Vec<Group> {
        let now = now_millis();
        let variables = vec![
            ("host", self.host.clone()),
            (
                "tm_id",
                crate::gateway::TaskManagerGateway::id(&*self.manager).to_owned(),
            ),
        ];
        let tasks = self.tasks();
        tasks.iter().for_each(|task| task.refresh());
        let mut groups: Vec<Group> = tasks
            .iter()
            .flat_map(|task| task::of_task(task, &variables, now))
            .collect();
        groups.push(Group {
            scope: Scope::TaskManager,
            metrics: self.own_with(&tasks),
            variables: variables.clone(),
        });
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_what_bytes_take_of_them() {
        let shuffle = Shuffle {
            elements: 1,
            used: SEGMENT + 1,
            capacity: 4 * SEGMENT,
        };
        let metrics = shuffle.metrics();
        let value = |name: &str| {
            let name = format!("Status.Shuffle.Netty.{name}");
            metrics.iter().find(|m| m.name == name).map(|m| m.value.number())
        };
        assert_eq!(value("UsedMemorySegments"), Some(2.0));
        assert_eq!(value("AvailableMemorySegments"), Some(2.0));
        assert_eq!(value("RequestedMemoryUsage"), Some(25.0));
        assert_eq!(Shuffle::default().metrics()[0].value.number(), 0.0);
    }
}
