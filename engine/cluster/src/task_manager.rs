//! Runs subtasks of jobs in this process: channels between them, a thread each.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace_connector_api::{Registry, Waker};
use millrace_core::{CheckpointId, Configuration, Error, Result, options};
use millrace_dataflow::{JobEdge, JobGraph, Partitioning};
use millrace_runtime::build::Output;
use millrace_runtime::channel::{Receiver, Sender};
use millrace_runtime::control::{Command, Event};
use millrace_runtime::operators::now_millis;
use millrace_runtime::wire::Wire;
use millrace_runtime::{
    Mailbox, OperatorSnapshot, SubtaskBuilder, SubtaskPlan, TaskMetrics, channel, driver,
};
use millrace_state::copies::{Copies, WithCopies};
use millrace_state::job::{INLINE_BYTES, StateWriter};
use millrace_state::keyed::{Clock, KeyedResources, Limits, RunFolder};
use millrace_state::metadata::FileRef;
use millrace_state::{JobStore, Store, location};
use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

use crate::checkpoint::StoredSnapshot;
use crate::control::TaskEvent;
use crate::exchange::{AttemptId, ChannelId, Exchange, Outgoing};
use crate::gateway::{Deployment, End, Reports, TaskManagerGateway, TaskPlace};
use crate::inspection::{self, Question, Role, Told};
use crate::{STACK, wire};

/// The TaskManager of this process.
pub struct TaskManager {
    id: String,
    /// Slots that its memory is divided among. None: the one job here has all of it.
    slots: Option<usize>,
    registry: Registry,
    runtime: Handle,
    exchange: Option<(Exchange, String)>,
    /// Of this process: what a job says of memory and folders does not count here.
    own: Configuration,
    running: Arc<Mutex<HashMap<AttemptId, Running>>>,
}

/// Options that are a TaskManager's own.
const OF_THE_MACHINE: [&str; 6] = [
    options::MANAGED_MEMORY.key,
    options::LOCAL_STATE_DIRECTORY.key,
    options::TEMPORARY_DIRECTORIES.key,
    options::LOCAL_BACKUP_DIRECTORIES.key,
    // Its older key.
    "taskmanager.state.local.root-dirs",
    options::PROCESS_MEMORY.key,
];

/// Between two looks at what subtasks have counted.
const LOOKING: Duration = Duration::from_secs(1);

/// What runs of an attempt.
struct Running {
    tasks: BTreeMap<usize, Task>,
    copies: Option<LocalCopies>,
    /// What its keyed state has.
    memory: Limits,
    /// Its folder stands as long as it runs.
    _run: Option<RunFolder>,
}

struct Task {
    mailbox: Mailbox,
    metrics: Arc<TaskMetrics>,
    thread: JoinHandle<()>,
    /// For tests: what is said goes through its bytes.
    through_wire: bool,
}

impl TaskManager {
    /// The only TaskManager of a process that runs a job by itself.
    pub fn embedded(registry: Registry, runtime: Handle) -> Self {
        let running = watched(&runtime);
        TaskManager {
            id: "embedded".to_owned(),
            slots: None,
            registry,
            runtime,
            exchange: None,
            running,
            own: Configuration::default(),
        }
    }

    /// One of several. `address` is the host and port at which others reach the exchange.
    pub fn new(
        id: String,
        own: Configuration,
        slots: usize,
        registry: Registry,
        runtime: Handle,
        exchange: Exchange,
        address: String,
    ) -> Self {
        let running = watched(&runtime);
        TaskManager {
            id,
            slots: Some(slots),
            registry,
            runtime,
            exchange: Some((exchange, address)),
            running,
            own,
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<AttemptId, Running>> {
        self.running.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A job's configuration, with this process's memory and folders.
    fn on_this_machine(&self, mut config: Configuration) -> Configuration {
        if self.slots.is_some() {
            for (key, value) in OF_THE_MACHINE.iter().map(|key| (*key, self.own.raw(key))) {
                match value {
                    Some(value) => config.set(key, value),
                    None => config.remove(key),
                }
            }
        }
        config
    }

    /// Of all subtasks that run here.
    pub fn metrics(&self) -> Vec<(AttemptId, usize, Arc<TaskMetrics>)> {
        let running = self.running();
        let of_attempts = running.iter().flat_map(|(attempt, running)| {
            let tasks = running.tasks.iter();
            tasks.map(|(number, task)| (*attempt, *number, task.metrics.clone()))
        });
        of_attempts.collect()
    }

    /// Bytes that keyed state has in memory.
    pub fn managed_memory_used(&self) -> usize {
        self.running().values().map(|running| running.memory.used()).sum()
    }

    /// What runs here.
    pub fn attempts(&self) -> Vec<AttemptId> {
        self.running().keys().copied().collect()
    }
}

impl TaskManagerGateway for TaskManager {
    fn id(&self) -> &str {
        &self.id
    }

    fn data_address(&self) -> Option<&str> {
        self.exchange.as_ref().map(|(_, address)| address.as_str())
    }

    fn deploy(&self, deployment: Deployment, reports: Arc<dyn Reports>) -> Result<Vec<Arc<TaskMetrics>>> {
        let attempt = deployment.attempt;
        let deployment = Deployment {
            config: self.on_this_machine(deployment.config),
            ..deployment
        };
        let (running, metrics) = Starting::new(self, &deployment, reports)?.start()?;
        self.running().insert(attempt, running);
        Ok(metrics)
    }

    fn command(&self, attempt: AttemptId, task: usize, command: Command) -> Result<()> {
        let running = self.running();
        let Some(running) = running.get(&attempt) else {
            return Ok(());
        };
        if let (Command::Complete(checkpoint), Some(copies)) = (&command, &running.copies) {
            copies.complete(*checkpoint);
        }
        match running.tasks.get(&task) {
            Some(task) => task.send(command),
            None => Ok(()),
        }
    }

    fn release(&self, attempt: AttemptId, end: End) {
        let Some(running) = self.running().remove(&attempt) else {
            return;
        };
        cancel(running.tasks);
        if let Some((exchange, _)) = &self.exchange {
            exchange.forget(attempt);
        }
        if let (End::Job, Some(copies)) = (end, &running.copies) {
            copies.copies.remove();
        }
    }

    fn inspect(&self, question: Question) -> Result<Told> {
        inspection::answer(Role::TaskManager, question)
    }

    fn last_heard(&self) -> i64 {
        millrace_runtime::operators::now_millis()
    }
}

/// What runs, whose counters are looked at as long as it is there.
fn watched(runtime: &Handle) -> Arc<Mutex<HashMap<AttemptId, Running>>> {
    let running: Arc<Mutex<HashMap<AttemptId, Running>>> = Arc::default();
    let seen = Arc::downgrade(&running);
    runtime.spawn(async move {
        let mut ticks = tokio::time::interval(LOOKING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(running) = seen.upgrade() else {
                return;
            };
            let running = running.lock().unwrap_or_else(|e| e.into_inner());
            let now = now_millis();
            for task in running.values().flat_map(|running| running.tasks.values()) {
                task.metrics.refresh();
                task.metrics.sample(now);
            }
        }
    });
    running
}

impl Task {
    fn send(&self, command: Command) -> Result<()> {
        let command = match self.through_wire {
            true => wire::decode_command(&wire::encode_command(&command))?,
            false => command,
        };
        self.mailbox.send(command);
        Ok(())
    }
}

/// Cancels tasks and waits until their threads are gone.
fn cancel(tasks: BTreeMap<usize, Task>) {
    for task in tasks.values() {
        task.mailbox.send(Command::Cancel);
    }
    for task in tasks.into_values() {
        // A panic has been reported as the task's error already.
        let _ = task.thread.join();
    }
}

/// State files of this process's subtasks that are on this machine too.
#[derive(Clone)]
struct LocalCopies {
    copies: Copies,
    /// Of checkpoints that are not known to be complete, the files that subtasks here have.
    taken: Arc<Mutex<BTreeMap<CheckpointId, Vec<FileRef>>>>,
}

impl LocalCopies {
    fn taken(&self, checkpoint: CheckpointId, snapshots: &[StoredSnapshot]) {
        let mut taken = self.taken.lock().unwrap_or_else(|e| e.into_inner());
        let files = taken.entry(checkpoint).or_default();
        files.extend(snapshots.iter().flat_map(StoredSnapshot::files).cloned());
    }

    /// Said once a task: the first time, files of older checkpoints that it does not have go.
    fn complete(&self, checkpoint: CheckpointId) {
        let mut taken = self.taken.lock().unwrap_or_else(|e| e.into_inner());
        let Some(files) = taken.remove(&checkpoint) else {
            return;
        };
        // What is being written for the next checkpoint is kept.
        let later = taken.split_off(&checkpoint);
        let kept = files.iter().chain(later.values().flatten());
        self.copies.retain(kept);
        *taken = later;
    }
}

/// A deployment on its way to running subtasks.
struct Starting<'a> {
    manager: &'a TaskManager,
    deployment: &'a Deployment,
    reports: Arc<dyn Reports>,
    run: Option<RunFolder>,
    state_writer: Option<StateWriter>,
    /// What the files of restored keyed state are read from.
    files: Option<Arc<dyn Store>>,
    copies: Option<LocalCopies>,
}

struct Slot {
    place: TaskPlace,
    waker: Waker,
    inputs: Vec<(usize, Receiver)>,
    outputs: Vec<Output>,
}

impl<'a> Starting<'a> {
    fn new(manager: &'a TaskManager, deployment: &'a Deployment, reports: Arc<dyn Reports>) -> Result<Self> {
        let config = &deployment.config;
        let store = match config.get_optional(&options::CHECKPOINT_DIRECTORY)? {
            Some(directory) => {
                let store = location::open(&directory, config, &manager.runtime)?;
                Some(JobStore::with_id(
                    store,
                    deployment.attempt.job,
                    &deployment.job_name,
                ))
            }
            None => None,
        };
        let state_folder = state_folder(config)?;
        let is_keyed = deployment
            .graph
            .operators()
            .any(|(node, _)| node.operator.is_keyed());
        let run = match is_keyed {
            true => Some(RunFolder::create(&state_folder)?),
            false => None,
        };
        let reads_copies = config.get(&options::LOCAL_RECOVERY)?;
        let keeps_copies = config
            .get_optional(&options::LOCAL_BACKUP)?
            .unwrap_or(reads_copies);
        let copies = match &store {
            Some(store) if keeps_copies => {
                let folder = copies_folder(config, &state_folder)?;
                // Several TaskManagers of one machine have each its own.
                let folder = match manager.slots {
                    Some(_) => folder.join(&manager.id),
                    None => folder,
                };
                Some(Copies::open(&folder, store.job_id())?)
            }
            _ => None,
        };
        let elsewhere = deployment
            .restored
            .as_ref()
            .and_then(|restored| restored.elsewhere.as_deref());
        let files: Option<Arc<dyn Store>> = match (elsewhere, &store) {
            (Some(folder), _) => Some(location::open(folder, config, &manager.runtime)?),
            (None, Some(store)) => Some(match &copies {
                Some(copies) if reads_copies => {
                    Arc::new(WithCopies::new(store.store().clone(), copies.clone()))
                }
                _ => store.store().clone(),
            }),
            (None, None) => None,
        };
        let state_writer = store.map(|store| {
            let writer = StateWriter::new(store);
            match &copies {
                Some(copies) => writer.with_copies(copies.clone()),
                None => writer,
            }
        });
        let copies = copies.map(|copies| LocalCopies {
            copies,
            taken: Arc::default(),
        });
        Ok(Starting {
            manager,
            deployment,
            reports,
            run,
            state_writer,
            files,
            copies,
        })
    }

    /// Starts every subtask. Opening happens on their threads; failures come as events.
    fn start(mut self) -> Result<(Running, Vec<Arc<TaskMetrics>>)> {
        let deployment = self.deployment;
        let mut slots: Vec<Slot> = deployment
            .tasks_of(deployment.me)
            .map(|place| Slot {
                place,
                waker: Waker::default(),
                inputs: Vec::new(),
                outputs: Vec::new(),
            })
            .collect();
        self.connect(&mut slots)?;
        let keyed = self.keyed_resources()?;
        let mut tasks = BTreeMap::new();
        let mut metrics = Vec::with_capacity(slots.len());
        for slot in slots {
            let number = slot.place.task;
            match self.start_one(slot, &keyed) {
                Ok((task, counted)) => {
                    tasks.insert(number, task);
                    metrics.push(counted);
                }
                Err(error) => {
                    cancel(tasks);
                    return Err(error);
                }
            }
        }
        let running = Running {
            tasks,
            copies: self.copies.take(),
            memory: keyed.limits,
            _run: self.run.take(),
        };
        Ok((running, metrics))
    }

    /// Lays the channels of every edge that begins or ends here.
    fn connect(&self, slots: &mut [Slot]) -> Result<()> {
        let deployment = self.deployment;
        let graph = &deployment.graph;
        let capacity = deployment.config.get(&options::CHANNEL_BYTES)?.0 as usize;
        let numbers: HashMap<(usize, usize), usize> = crate::gateway::tasks(graph)
            .map(|t| ((t.vertex, t.subtask), t.task))
            .collect();
        let here: HashMap<usize, usize> = slots
            .iter()
            .enumerate()
            .map(|(index, slot)| (slot.place.task, index))
            .collect();
        let mut connections: HashMap<usize, Outgoing> = HashMap::new();
        for (number, edge) in graph.edges.iter().enumerate() {
            for writer in 0..graph.vertices[edge.from_vertex].parallelism {
                let from = numbers[&(edge.from_vertex, writer)];
                let mut senders: Vec<Sender> = Vec::new();
                for reader in readers(graph, edge, writer) {
                    let to = *numbers
                        .get(&(edge.to_vertex, reader))
                        .ok_or_else(|| Error::internal("an edge of the job graph leads nowhere"))?;
                    let id = ChannelId {
                        attempt: deployment.attempt,
                        edge: number as u32,
                        from: writer as u32,
                        to: reader as u32,
                    };
                    match (here.get(&from), here.get(&to)) {
                        (Some(&from), Some(&to)) => {
                            let (sender, receiver) =
                                channel(capacity, slots[from].waker.clone(), slots[to].waker.clone());
                            slots[to].inputs.push((edge.to_input, receiver));
                            senders.push(sender);
                        }
                        (None, Some(&to)) => {
                            let (exchange, _) = self.exchange()?;
                            let waker = slots[to].waker.clone();
                            let receiver = exchange.receiver(id, capacity, wire_of(graph, edge), waker);
                            slots[to].inputs.push((edge.to_input, receiver));
                        }
                        (Some(&from), None) => {
                            let (exchange, _) = self.exchange()?;
                            let place = deployment.places[to];
                            let peer = deployment.peers[place]
                                .as_deref()
                                .ok_or_else(|| Error::internal("a TaskManager has no address for data"))?;
                            let connection =
                                connections.entry(place).or_insert_with(|| exchange.connect(peer));
                            senders.push(connection.sender(
                                id,
                                wire_of(graph, edge),
                                slots[from].waker.clone(),
                            ));
                        }
                        (None, None) => {}
                    }
                }
                if let Some(&from) = here.get(&from) {
                    slots[from].outputs.push(Output {
                        operator: edge.from_operator,
                        channels: senders,
                        partitioning: edge.partitioning.clone(),
                        max_parallelism: graph.vertices[edge.to_vertex].max_parallelism,
                    });
                }
            }
        }
        Ok(())
    }

    fn exchange(&self) -> Result<&(Exchange, String)> {
        self.manager
            .exchange
            .as_ref()
            .ok_or_else(|| Error::internal("a job of several TaskManagers is given to one that is alone"))
    }

    /// Of the memory for keyed state seven sixteenths are RocksDB's, six are divided among the operators that have
    /// some. The rest is for what neither counts: rows on their way between both, what compactions read ahead, files
    /// on their way to a checkpoint, and what the allocator cannot use.
    fn keyed_resources(&self) -> Result<KeyedResources> {
        let deployment = self.deployment;
        let all = deployment.config.get(&options::MANAGED_MEMORY)?.0 as usize;
        let managed = match self.manager.slots {
            Some(slots) => all / slots.max(1) * deployment.slots,
            None => all,
        };
        let stores: usize = deployment
            .tasks_of(deployment.me)
            .map(|task| {
                let operators = deployment.graph.vertices[task.vertex].operators.iter();
                operators.filter(|o| o.node.operator.is_keyed()).count()
            })
            .sum();
        let is_own = deployment
            .restored
            .as_ref()
            .is_some_and(|restored| restored.elsewhere.is_none());
        Ok(KeyedResources {
            limits: Limits::shared_by(managed / 16 * 7, stores),
            folder: self
                .run
                .as_ref()
                .map(|run| run.path().to_owned())
                .unwrap_or_default(),
            cache_bytes: managed / 16 * 6 / stores.max(1),
            checkpoints: deployment.restored.as_ref().and(self.files.clone()),
            own: match is_own {
                true => self.state_writer.as_ref().map(StateWriter::folder),
                false => None,
            },
            clock: Clock::System,
        })
    }

    fn start_one(&self, slot: Slot, keyed: &KeyedResources) -> Result<(Task, Arc<TaskMetrics>)> {
        let deployment = self.deployment;
        let TaskPlace {
            task,
            vertex,
            subtask,
        } = slot.place;
        let vertex = deployment.graph.vertices[vertex].clone();
        let metrics = TaskMetrics::of(
            deployment.attempt.job,
            &deployment.graph,
            slot.place.vertex,
            subtask,
            deployment.attempt.attempt,
        );
        metrics.sample(now_millis());
        let (mailbox, commands) = Mailbox::new(slot.waker.clone());
        let through_wire = deployment.config.get(&options::TEST_WIRE)?;
        let report = {
            let reporter = TaskReporter {
                task,
                attempt: deployment.attempt,
                reports: self.reports.clone(),
                state_writer: self.state_writer.clone(),
                copies: self.copies.clone(),
                runtime: self.manager.runtime.clone(),
                through_wire,
            };
            move |event| reporter.report(event)
        };
        let report_failure = report.clone();
        let builder = SubtaskBuilder {
            plan: SubtaskPlan {
                job_name: deployment.job_name.clone(),
                vertex,
                subtask,
                attempt: deployment.attempt.attempt,
                config: deployment.config.clone(),
                restored: deployment
                    .restored
                    .as_ref()
                    .map(|restored| restored.operators.clone()),
            },
            keyed: keyed.clone(),
            registry: self.manager.registry.clone(),
            runtime: self.manager.runtime.clone(),
            waker: slot.waker.clone(),
            commands,
            reporter: Box::new(report),
            metrics: metrics.clone(),
            inputs: slot.inputs,
            outputs: slot.outputs,
        };
        let waker = slot.waker;
        let opened = metrics.clone();
        let job = deployment.attempt.job;
        let job_name = deployment.job_name.clone();
        let own = &deployment.graph.vertices[slot.place.vertex];
        let task_name = format!("{} ({}/{})", own.name, subtask + 1, own.parallelism);
        let thread = std::thread::Builder::new()
            .name(format!("task-{task}"))
            .stack_size(STACK)
            .spawn(move || {
                let _whose = tracing::info_span!("task", job_id = %job, job_name, task = task_name).entered();
                // A connector that panics while it opens must fail the attempt, not hang it.
                let began = Instant::now();
                let built = catch_unwind(AssertUnwindSafe(|| builder.build()));
                opened
                    .initialization_millis
                    .set(began.elapsed().as_millis() as i64);
                match built.unwrap_or_else(|panic| Err(driver::panicked(panic.as_ref()))) {
                    Ok(subtask) => driver::run(subtask, &waker),
                    Err(error) => report_failure(Event::Stopped { error: Some(error) }),
                }
            })
            .map_err(|e| Error::external("a thread could not be started").with_source(e))?;
        let task = Task {
            mailbox,
            metrics: metrics.clone(),
            thread,
            through_wire,
        };
        Ok((task, metrics))
    }
}

/// Subtasks that one writer of an edge feeds.
fn readers(graph: &JobGraph, edge: &JobEdge, writer: usize) -> std::ops::Range<usize> {
    match edge.partitioning {
        Partitioning::Forward => writer..writer + 1,
        Partitioning::Rebalance | Partitioning::Hash { .. } => 0..graph.vertices[edge.to_vertex].parallelism,
    }
}

fn wire_of(graph: &JobGraph, edge: &JobEdge) -> Wire {
    let from = &graph.vertices[edge.from_vertex].operators[edge.from_operator];
    Wire::new(from.node.output.to_arrow())
}

/// The first of `execution.checkpointing.local-backup.dirs`, else a folder on the disk of keyed state.
fn copies_folder(config: &Configuration, state_folder: &Path) -> Result<PathBuf> {
    Ok(match config.get_optional(&options::LOCAL_BACKUP_DIRECTORIES)? {
        Some(given) => first_of(&given),
        None => state_folder.join("local-copies"),
    })
}

/// Of folders that are divided by commas or colons.
fn first_of(folders: &str) -> PathBuf {
    let first = folders.split([',', ':']).next().unwrap_or_default();
    PathBuf::from(first.trim())
}

/// `state.backend.rocksdb.localdir`, else a folder in the first of `io.tmp.dirs`, else in the machine's.
pub fn state_folder(config: &Configuration) -> Result<PathBuf> {
    if let Some(given) = config.get_optional(&options::LOCAL_STATE_DIRECTORY)? {
        return Ok(given.into());
    }
    let temporary = match config.get_optional(&options::TEMPORARY_DIRECTORIES)? {
        Some(given) => first_of(&given),
        None => std::env::temp_dir(),
    };
    Ok(temporary.join("millrace-state"))
}

/// Sends a subtask's reports to the JobMaster, its large state entries put away first.
#[derive(Clone)]
struct TaskReporter {
    task: usize,
    attempt: AttemptId,
    reports: Arc<dyn Reports>,
    state_writer: Option<StateWriter>,
    copies: Option<LocalCopies>,
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
            Ok(snapshots) => {
                if let Some(copies) = &self.copies {
                    copies.taken(checkpoint, &snapshots);
                }
                TaskEvent::Acknowledged {
                    checkpoint,
                    snapshots,
                }
            }
            Err(error) => TaskEvent::Declined { checkpoint, error },
        });
    }

    fn send(&self, event: TaskEvent) {
        let event = match self.through_wire {
            true => wire::decode_report(&wire::encode_report(&event))
                .unwrap_or_else(|error| TaskEvent::Stopped { error: Some(error) }),
            false => event,
        };
        self.reports.report(self.attempt, self.task, event);
    }
}
