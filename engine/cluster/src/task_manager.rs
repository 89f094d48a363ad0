//! Runs the subtasks of a job in this process: channels between them, a thread each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use millrace_connector_api::{Registry, Waker};
use millrace_core::{CheckpointId, Configuration, Error, Result, options};
use millrace_dataflow::{JobGraph, Partitioning};
use millrace_runtime::build::Output;
use millrace_runtime::channel::{Receiver, Sender as ChannelSender};
use millrace_runtime::control::{Command, Event};
use millrace_runtime::{
    Mailbox, OperatorSnapshot, SubtaskBuilder, SubtaskPlan, TaskMetrics, channel, driver,
};
use millrace_state::job::{INLINE_BYTES, StateWriter};
use millrace_state::keyed::{Clock, KeyedResources, Limits};
use tokio::runtime::Handle;

use crate::attempt::{Message, TaskEvent};
use crate::checkpoint::StoredSnapshot;
use crate::recovery::RestoredState;
use crate::{STACK, wire};

/// A subtask as the JobMaster sees it.
pub struct Task {
    pub name: String,
    pub subtask: usize,
    pub is_source: bool,
    pub mailbox: Mailbox,
    pub metrics: Arc<TaskMetrics>,
    pub thread: JoinHandle<()>,
    /// For tests: what is said goes through its bytes.
    through_wire: bool,
}

impl Task {
    pub fn send(&self, command: Command) -> Result<()> {
        let command = match self.through_wire {
            true => wire::decode_command(&wire::encode_command(&command))?,
            false => command,
        };
        self.mailbox.send(command);
        Ok(())
    }
}

/// Cancels all tasks and waits until their threads are gone.
pub fn end(tasks: Vec<Task>) {
    for task in &tasks {
        task.mailbox.send(Command::Cancel);
    }
    for task in tasks {
        // A panic has been reported as the task's error already.
        let _ = task.thread.join();
    }
}

/// All that a deployment needs beside the graph.
pub struct Deployment<'a> {
    pub graph: &'a JobGraph,
    pub attempt: u64,
    pub config: &'a Configuration,
    pub registry: &'a Registry,
    pub runtime: &'a Handle,
    pub restored: Option<Arc<RestoredState>>,
    /// The folder of this run's keyed state, if the job has any.
    pub run: Option<&'a Path>,
    /// Where large state goes; none for a job without a checkpoint folder.
    pub state_writer: Option<StateWriter>,
    pub messages: &'a Sender<Message>,
}

struct Slot {
    vertex: usize,
    subtask: usize,
    waker: Waker,
    inputs: Vec<(usize, Receiver)>,
    outputs: Vec<Output>,
}

impl Deployment<'_> {
    /// Starts every subtask. Opening happens on their threads; failures come as events.
    pub fn deploy(self) -> Result<Vec<Task>> {
        let mut slots = Vec::new();
        for (index, vertex) in self.graph.vertices.iter().enumerate() {
            for subtask in 0..vertex.parallelism {
                slots.push(Slot {
                    vertex: index,
                    subtask,
                    waker: Waker::default(),
                    inputs: Vec::new(),
                    outputs: Vec::new(),
                });
            }
        }
        self.connect(&mut slots)?;
        let keyed = self.keyed_resources()?;
        let mut tasks = Vec::with_capacity(slots.len());
        for (number, slot) in slots.into_iter().enumerate() {
            match self.start(number, slot, &keyed) {
                Ok(task) => tasks.push(task),
                Err(error) => {
                    end(tasks);
                    return Err(error);
                }
            }
        }
        Ok(tasks)
    }

    /// Lays the channels of every edge.
    fn connect(&self, slots: &mut [Slot]) -> Result<()> {
        let capacity = self.config.get(&options::CHANNEL_BYTES)?.0 as usize;
        let position = |slots: &[Slot], vertex, subtask| {
            slots
                .iter()
                .position(|s| s.vertex == vertex && s.subtask == subtask)
        };
        for edge in &self.graph.edges {
            let readers = self.graph.vertices[edge.to_vertex].parallelism;
            for writer in 0..self.graph.vertices[edge.from_vertex].parallelism {
                let targets: Vec<usize> = match edge.partitioning {
                    Partitioning::Forward => vec![writer],
                    Partitioning::Rebalance | Partitioning::Hash { .. } => (0..readers).collect(),
                };
                let from = position(slots, edge.from_vertex, writer);
                let mut senders: Vec<ChannelSender> = Vec::with_capacity(targets.len());
                for target in targets {
                    let (Some(from), Some(to)) = (from, position(slots, edge.to_vertex, target)) else {
                        return Err(Error::internal("an edge of the job graph leads nowhere"));
                    };
                    let (sender, receiver) =
                        channel(capacity, slots[from].waker.clone(), slots[to].waker.clone());
                    slots[to].inputs.push((edge.to_input, receiver));
                    senders.push(sender);
                }
                if let Some(from) = from {
                    slots[from].outputs.push(Output {
                        operator: edge.from_operator,
                        channels: senders,
                        partitioning: edge.partitioning.clone(),
                        max_parallelism: self.graph.vertices[edge.to_vertex].max_parallelism,
                    });
                }
            }
        }
        Ok(())
    }

    /// Of the memory for keyed state seven sixteenths are RocksDB's, six are divided among the operators that have
    /// some. The rest is for what neither counts: rows on their way between both, what compactions read ahead, files
    /// on their way to a checkpoint, and what the allocator cannot use.
    fn keyed_resources(&self) -> Result<KeyedResources> {
        let managed = self.config.get(&options::MANAGED_MEMORY)?.0 as usize;
        let keyed = self
            .graph
            .operators()
            .filter(|(node, _)| node.operator.is_keyed());
        let stores: usize = keyed.map(|(_, parallelism)| parallelism).sum();
        Ok(KeyedResources {
            limits: Limits::shared_by(managed / 16 * 7, stores),
            folder: self.run.map(Path::to_owned).unwrap_or_default(),
            cache_bytes: managed / 16 * 6 / stores.max(1),
            checkpoints: self.restored.as_ref().and_then(|restored| restored.files.clone()),
            own: match &self.restored {
                Some(restored) if restored.is_own => self.state_writer.as_ref().map(StateWriter::folder),
                _ => None,
            },
            clock: Clock::System,
        })
    }

    fn start(&self, task: usize, slot: Slot, keyed: &KeyedResources) -> Result<Task> {
        let vertex = self.graph.vertices[slot.vertex].clone();
        let name = format!("{} ({}/{})", vertex.name, slot.subtask + 1, vertex.parallelism);
        let metrics = TaskMetrics::new(vertex.operators.iter().map(|o| o.node.name.clone()));
        let (mailbox, commands) = Mailbox::new(slot.waker.clone());
        let through_wire = self.config.get(&options::TEST_WIRE)?;
        let report = {
            let reporter = TaskReporter {
                task,
                attempt: self.attempt,
                messages: self.messages.clone(),
                state_writer: self.state_writer.clone(),
                runtime: self.runtime.clone(),
                through_wire,
            };
            move |event| reporter.report(event)
        };
        let report_failure = report.clone();
        let builder = SubtaskBuilder {
            plan: SubtaskPlan {
                job_name: self.graph.name.clone(),
                vertex,
                subtask: slot.subtask,
                attempt: self.attempt,
                config: self.config.clone(),
                restored: self.restored.as_ref().map(|restored| restored.operators.clone()),
            },
            keyed: keyed.clone(),
            registry: self.registry.clone(),
            runtime: self.runtime.clone(),
            waker: slot.waker.clone(),
            commands,
            reporter: Box::new(report),
            metrics: metrics.clone(),
            inputs: slot.inputs,
            outputs: slot.outputs,
        };
        let is_source = builder.inputs.is_empty();
        let waker = slot.waker;
        let thread = std::thread::Builder::new()
            .name(format!("task-{task}"))
            .stack_size(STACK)
            .spawn(move || {
                // A connector that panics while it opens must fail the attempt, not hang it.
                let built = catch_unwind(AssertUnwindSafe(|| builder.build()));
                match built.unwrap_or_else(|panic| Err(driver::panicked(panic.as_ref()))) {
                    Ok(subtask) => driver::run(subtask, &waker),
                    Err(error) => report_failure(Event::Stopped { error: Some(error) }),
                }
            })
            .map_err(|e| Error::external("a thread could not be started").with_source(e))?;
        Ok(Task {
            name,
            subtask: slot.subtask,
            is_source,
            mailbox,
            metrics,
            thread,
            through_wire,
        })
    }
}

/// Sends a subtask's reports to the JobMaster, its large state entries put away first.
#[derive(Clone)]
struct TaskReporter {
    task: usize,
    attempt: u64,
    messages: Sender<Message>,
    state_writer: Option<StateWriter>,
    runtime: Handle,
    /// For tests: what is reported goes through its bytes.
    through_wire: bool,
}

impl TaskReporter {
    fn report(&self, event: Event) {
        let event = match event {
            Event::Started => TaskEvent::Started,
            Event::Held => TaskEvent::Held,
            Event::Ended => TaskEvent::Ended,
            Event::Committed { checkpoint } => TaskEvent::Committed { checkpoint },
            Event::Stopped { error } => TaskEvent::Stopped { error },
            Event::Snapshot {
                checkpoint,
                operators,
            } => {
                let small = operators
                    .iter()
                    .all(|o| o.keyed.is_none() && o.entries.iter().all(|e| e.len() <= INLINE_BYTES));
                if small {
                    return self.acknowledge(checkpoint, operators);
                }
                // Writing may block, which the subtask's thread must not.
                let this = self.clone();
                self.runtime
                    .spawn_blocking(move || this.acknowledge(checkpoint, operators));
                return;
            }
        };
        self.send(event);
    }

    fn acknowledge(&self, checkpoint: CheckpointId, operators: Vec<OperatorSnapshot>) {
        let put = |bytes| match &self.state_writer {
            Some(writer) => writer.put(checkpoint, bytes),
            None => Ok(millrace_state::StateBlob::inline(bytes)),
        };
        let stored = operators
            .into_iter()
            .map(|o| {
                let entries = o.entries.into_iter().map(put).collect::<Result<Vec<_>>>()?;
                let keyed = match (o.keyed, &self.state_writer) {
                    (Some(snapshot), Some(writer)) => Some(snapshot.put_away(writer)?),
                    _ => None,
                };
                Ok(StoredSnapshot {
                    uid: o.uid,
                    name: o.name,
                    entries,
                    keyed,
                })
            })
            .collect::<Result<Vec<_>>>();
        self.send(match stored {
            Ok(snapshots) => TaskEvent::Acknowledged {
                checkpoint,
                snapshots,
            },
            Err(error) => TaskEvent::Declined { checkpoint, error },
        });
    }

    fn send(&self, event: TaskEvent) {
        let event = match self.through_wire {
            true => wire::decode_report(&wire::encode_report(&event))
                .unwrap_or_else(|error| TaskEvent::Stopped { error: Some(error) }),
            false => event,
        };
        let _ = self.messages.send(Message::Task {
            attempt: self.attempt,
            task: self.task,
            event,
        });
    }
}
