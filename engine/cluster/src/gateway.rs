//! A TaskManager as JobMasters know it, in this process or in another.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_core::{Configuration, Error, Result};
use millrace_dataflow::JobGraph;
use millrace_runtime::build::RestoredOperator;
use millrace_runtime::{Command, TaskMetrics};

use crate::control::TaskEvent;
use crate::exchange::AttemptId;
use crate::inspection::{Question, Told};
use crate::metrics::Metric;
use crate::resources::ResourceManager;

pub trait TaskManagerGateway: Send + Sync {
    /// As it is registered, and shown.
    fn id(&self) -> &str;

    /// Host and port at which other TaskManagers reach it. None: there are no others.
    fn data_address(&self) -> Option<&str>;

    /// Starts its subtasks of an attempt. What becomes of them comes as reports, also that they could not be started
    /// there. Gives the metrics of each, in the order of `Deployment::tasks_of`.
    fn deploy(&self, deployment: Deployment, reports: Arc<dyn Reports>) -> Result<Vec<Arc<TaskMetrics>>>;

    /// What its process shows of itself, in the scope of a TaskManager; nothing where it is this process.
    fn process_metrics(&self) -> Arc<[Metric]> {
        Arc::default()
    }

    /// One that is gone takes no commands: who listens for its loss hears of it.
    fn command(&self, attempt: AttemptId, task: usize, command: Command) -> Result<()>;

    /// Ends what runs of an attempt, and waits until it has ended, or the TaskManager is known to be lost.
    fn release(&self, attempt: AttemptId, end: End);

    /// What its process tells of itself. Blocks until it has answered, or for a while.
    fn inspect(&self, question: Question) -> Result<Told>;

    /// When it was last heard of, in milliseconds since 1970.
    fn last_heard(&self) -> i64;
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Another attempt, maybe: what is kept on the machine for that stays.
    Attempt,
    /// Nothing.
    Job,
}

/// Where reports of subtasks go. Must not block.
pub trait Reports: Send + Sync {
    fn report(&self, attempt: AttemptId, task: usize, event: TaskEvent);
}

/// What a TaskManager is told of an attempt: values, which can go over a network.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub attempt: AttemptId,
    pub job_name: String,
    pub graph: JobGraph,
    pub config: Configuration,
    /// Of each task the TaskManager, by its place in `peers`. Tasks are numbered vertex by vertex, subtask by subtask.
    pub places: Vec<usize>,
    /// The data addresses of all TaskManagers of the attempt.
    pub peers: Vec<Option<String>>,
    /// Whose deployment this is.
    pub me: usize,
    /// Slots that the attempt has there.
    pub slots: usize,
    pub restored: Option<Restored>,
}

/// What an attempt begins with.
#[derive(Debug, Clone)]
pub struct Restored {
    /// By operator uid.
    pub operators: Arc<HashMap<String, RestoredOperator>>,
    /// The checkpoint folder that the files of keyed state are in; none: the job's own.
    pub elsewhere: Option<String>,
}

/// One subtask of a job graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPlace {
    pub task: usize,
    pub vertex: usize,
    pub subtask: usize,
}

/// All subtasks of a graph, by their task numbers.
pub fn tasks(graph: &JobGraph) -> impl Iterator<Item = TaskPlace> {
    let subtasks = graph
        .vertices
        .iter()
        .enumerate()
        .flat_map(|(vertex, v)| (0..v.parallelism).map(move |subtask| (vertex, subtask)));
    subtasks.enumerate().map(|(task, (vertex, subtask))| TaskPlace {
        task,
        vertex,
        subtask,
    })
}

impl Deployment {
    /// The tasks of one TaskManager.
    pub fn tasks_of(&self, place: usize) -> impl Iterator<Item = TaskPlace> {
        tasks(&self.graph).filter(move |task| self.places[task.task] == place)
    }
}

/// A subtask that runs somewhere, as its JobMaster knows it.
#[derive(Clone)]
pub struct Task {
    pub name: String,
    pub vertex: usize,
    pub subtask: usize,
    pub is_source: bool,
    gateway: Arc<dyn TaskManagerGateway>,
    attempt: AttemptId,
    number: usize,
}

impl Task {
    pub fn send(&self, command: Command) -> Result<()> {
        self.gateway.command(self.attempt, self.number, command)
    }

    /// The id of the TaskManager that it runs on.
    pub fn task_manager(&self) -> &str {
        self.gateway.id()
    }

    /// Host and port of that for data.
    pub fn endpoint(&self) -> Option<&str> {
        self.gateway.data_address()
    }
}

/// An attempt's subtasks, on all of its TaskManagers.
pub struct Deployed {
    pub tasks: Vec<Task>,
    /// In the order of tasks.
    pub metrics: Vec<Arc<TaskMetrics>>,
    gateways: Vec<Arc<dyn TaskManagerGateway>>,
    attempt: AttemptId,
}

/// Slots of an attempt on one TaskManager.
#[derive(Clone)]
pub struct Slots {
    pub gateway: Arc<dyn TaskManagerGateway>,
    pub count: usize,
}

/// Where a job's slots come from.
#[derive(Clone)]
pub enum SlotSource {
    /// They are there, for this job alone.
    Own(Vec<Slots>),
    Shared(ResourceManager),
}

impl Deployed {
    /// Places subtask i of every vertex into slot i, and starts them all. What is started of a deployment that fails
    /// is ended.
    pub fn start(slots: &[Slots], deployment: Deployment, reports: &Arc<dyn Reports>) -> Result<Deployed> {
        let Deployment { attempt, .. } = deployment;
        let mut deployed = Deployed {
            tasks: Vec::new(),
            metrics: Vec::new(),
            gateways: Vec::new(),
            attempt,
        };
        let owners: Vec<usize> = slots
            .iter()
            .enumerate()
            .flat_map(|(place, slots)| std::iter::repeat_n(place, slots.count))
            .collect();
        let widest = deployment
            .graph
            .vertices
            .iter()
            .map(|v| v.parallelism)
            .max()
            .unwrap_or(0);
        if widest > owners.len() {
            return Err(
                Error::internal("an attempt is to be deployed without enough slots")
                    .with_detail(format!("{widest} are needed, {} are there", owners.len())),
            );
        }
        let deployment = Deployment {
            places: tasks(&deployment.graph)
                .map(|task| owners[task.subtask])
                .collect(),
            peers: slots
                .iter()
                .map(|s| s.gateway.data_address().map(str::to_owned))
                .collect(),
            ..deployment
        };
        let mut metrics: Vec<Option<Arc<TaskMetrics>>> = vec![None; deployment.places.len()];
        for (place, slots) in slots.iter().enumerate() {
            let places: Vec<TaskPlace> = deployment.tasks_of(place).collect();
            if places.is_empty() {
                continue;
            }
            let own = Deployment {
                me: place,
                slots: slots.count,
                ..deployment.clone()
            };
            // Before it is asked: what a failure has left there has to go too.
            deployed.gateways.push(slots.gateway.clone());
            match slots.gateway.deploy(own, reports.clone()) {
                Ok(counted) => {
                    for (place, counted) in places.iter().zip(counted) {
                        metrics[place.task] = Some(counted);
                    }
                }
                Err(error) => {
                    deployed.end(End::Attempt);
                    return Err(error);
                }
            }
        }
        for place in tasks(&deployment.graph) {
            let vertex = &deployment.graph.vertices[place.vertex];
            deployed.tasks.push(Task {
                name: format!("{} ({}/{})", vertex.name, place.subtask + 1, vertex.parallelism),
                vertex: place.vertex,
                subtask: place.subtask,
                is_source: !deployment
                    .graph
                    .edges
                    .iter()
                    .any(|edge| edge.to_vertex == place.vertex),
                gateway: slots[deployment.places[place.task]].gateway.clone(),
                attempt,
                number: place.task,
            });
        }
        deployed.metrics = metrics.into_iter().flatten().collect();
        Ok(deployed)
    }

    /// Ends all subtasks, and waits until they are gone. Gives what they were.
    pub fn end(self, end: End) -> Vec<Task> {
        std::thread::scope(|scope| {
            for gateway in &self.gateways {
                scope.spawn(|| gateway.release(self.attempt, end));
            }
        });
        self.tasks
    }
}
