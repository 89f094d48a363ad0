//! The JobManager's side: TaskManagers that have registered, each a stream of its own.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_core::{Configuration, Error, Result, options};
use millrace_runtime::operators::now_millis;
use millrace_runtime::{Command, TaskMetrics};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::inspection::Questions;
use super::proto::control_server::Control;
use super::proto::from_task_manager::Is as From;
use super::proto::metrics::Task as Counted;
use super::proto::to_task_manager::Is as To;
use super::proto::{FromTaskManager, Register, Registered, Release, ToTaskManager};
use super::{LONGEST_MESSAGE, proto};
use crate::control::TaskEvent;
use crate::exchange::AttemptId;
use crate::gateway::{Deployment, End, Reports, TaskManagerGateway};
use crate::inspection::{Question, Told};
use crate::metrics::{self, Metric};
use crate::process::Role;
use crate::resources::{Capacity, ResourceManager};
use crate::{wire, words};

/// How long who is not heard of is taken to be there.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeats {
    pub interval: Duration,
    pub timeout: Duration,
}

impl Heartbeats {
    pub fn from_config(config: &Configuration) -> Result<Self> {
        let heartbeats = Heartbeats {
            interval: config.get(&options::HEARTBEAT_INTERVAL)?,
            timeout: config.get(&options::HEARTBEAT_TIMEOUT)?,
        };
        if heartbeats.interval.is_zero() || heartbeats.interval >= heartbeats.timeout {
            return Err(Error::user(
                "heartbeat.interval must be shorter than heartbeat.timeout, and longer than nothing",
            )
            .with_detail(format!("{:?} and {:?}", heartbeats.interval, heartbeats.timeout)));
        }
        Ok(heartbeats)
    }
}

/// Takes TaskManagers into the ResourceManager, for as long as their streams last.
#[derive(Clone)]
pub struct ControlService {
    role: watch::Receiver<Role>,
    heartbeats: Heartbeats,
    leader: String,
}

/// A TaskManager's stream at a JobManager that leads.
struct Attached {
    resources: ResourceManager,
    role: watch::Receiver<Role>,
    heartbeats: Heartbeats,
}

impl ControlService {
    pub fn new(role: watch::Receiver<Role>, heartbeats: Heartbeats, leader: String) -> Self {
        ControlService {
            role,
            heartbeats,
            leader,
        }
    }

    /// As a server has it.
    pub fn server(self) -> proto::control_server::ControlServer<Self> {
        proto::control_server::ControlServer::new(self)
            .max_decoding_message_size(LONGEST_MESSAGE)
            .max_encoding_message_size(LONGEST_MESSAGE)
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<ToTaskManager, Status>> + Send>>;

#[tonic::async_trait]
impl Control for ControlService {
    type AttachStream = Answers;

    async fn attach(
        &self,
        request: Request<Streaming<FromTaskManager>>,
    ) -> Result<Response<Answers>, Status> {
        let mut incoming = request.into_inner();
        let (answers, queue) = unbounded_channel();
        let first = match incoming.next().await {
            Some(Ok(FromTaskManager {
                is: Some(From::Register(register)),
            })) => register,
            Some(Ok(_)) => return Err(Status::failed_precondition("the first message is to register")),
            Some(Err(status)) => return Err(status),
            None => return Err(Status::cancelled("nothing came")),
        };
        if first.version != env!("CARGO_PKG_VERSION") {
            let why = format!(
                "this JobManager is of release {}, the TaskManager of {}",
                env!("CARGO_PKG_VERSION"),
                first.version
            );
            tracing::warn!(task_manager = %first.id, why, "a TaskManager is refused");
            return Err(Status::failed_precondition(why));
        }
        let mut role = self.role.clone();
        let Role::Leader(dispatcher) = role.borrow_and_update().clone() else {
            return Err(Status::unavailable("this JobManager does not lead"));
        };
        let this = Attached {
            resources: dispatcher.resources().clone(),
            role,
            heartbeats: self.heartbeats,
        };
        let remote = Arc::new(RemoteTaskManager::new(&first, answers));
        remote.say(To::Registered(Registered {
            leader: self.leader.clone(),
        }));
        words::task_manager_registers(&remote.id, &remote.data_address);
        let capacity = capacity_of(first);
        tracing::info!(task_manager = %remote.id, host = %capacity.host, slots = capacity.slots, "TaskManager registered");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as i64);
        this.resources.register(remote.clone(), capacity, now);
        tokio::spawn(async move {
            let mut role = this.role.clone();
            let why = tokio::select! {
                why = this.listen(&remote, incoming) => why,
                // Its subtasks are released by their jobs, which are given up: it goes to whoever leads.
                _ = role.changed() => "this JobManager no longer leads".to_owned(),
            };
            match this.resources.is_draining(&remote.id) {
                true => tracing::info!(task_manager = %remote.id, "TaskManager has ended"),
                false => tracing::warn!(task_manager = %remote.id, why, "TaskManager lost"),
            }
            words::task_manager_closed(&remote.id, &why);
            this.resources.remove(&remote.id);
            remote.lost(&why);
        });
        Ok(Response::new(Box::pin(
            UnboundedReceiverStream::new(queue).map(Ok),
        )))
    }
}

fn capacity_of(register: Register) -> Capacity {
    Capacity {
        host: register.host,
        slots: register.slots as usize,
        managed_memory: register.managed_memory,
        process_memory: register.process_memory,
        cpu_cores: register.cpu_cores,
        physical_memory: register.physical_memory,
    }
}

impl Attached {
    /// Until the TaskManager is lost; why.
    async fn listen(&self, remote: &RemoteTaskManager, mut incoming: Streaming<FromTaskManager>) -> String {
        let mut beats = interval(self.heartbeats.interval);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = incoming.next() => match message {
                    None => return "it has closed its connection".to_owned(),
                    Some(Err(status)) => return format!("its connection broke: {}", status.message()),
                    Some(Ok(message)) => {
                        heard = Instant::now();
                        remote.heard();
                        if let Err(error) = self.take(remote, message) {
                            return format!("it sends what cannot be read: {error}");
                        }
                    }
                },
                _ = beats.tick() => remote.say(To::Heartbeat(proto::Heartbeat {})),
                () = sleep_until(heard + self.heartbeats.timeout) => {
                    return format!("it has not been heard of for heartbeat.timeout, {:?}", self.heartbeats.timeout);
                }
            }
        }
    }

    fn take(&self, remote: &RemoteTaskManager, message: FromTaskManager) -> Result<()> {
        match message.is {
            None | Some(From::Heartbeat(_)) => {}
            Some(From::Register(_)) => return Err(Error::external("a TaskManager registers twice")),
            Some(From::Report(report)) => {
                let attempt = report.attempt.unwrap_or_default().id()?;
                let event = wire::decode_report(&report.event)?;
                remote.report(attempt, report.task as usize, event);
            }
            Some(From::Released(released)) => remote.released(released.attempt.unwrap_or_default().id()?),
            Some(From::Draining(_)) => {
                tracing::info!(task_manager = %remote.id, "TaskManager is to end");
                self.resources.drain(&remote.id);
            }
            Some(From::Told(told)) => remote.questions.told(told),
            Some(From::Metrics(counted)) => {
                for task in counted.tasks {
                    remote.counted(task)?;
                }
                if !counted.own.is_empty() {
                    remote.set_metrics(metrics::decode(counted.own));
                }
            }
        }
        Ok(())
    }
}

/// A TaskManager in another process.
pub struct RemoteTaskManager {
    id: String,
    data_address: String,
    answers: UnboundedSender<ToTaskManager>,
    state: Mutex<State>,
    released: Condvar,
    questions: Questions,
    /// Milliseconds since 1970.
    heard: AtomicI64,
}

#[derive(Default)]
struct State {
    attempts: HashMap<AttemptId, Deployed>,
    lost: bool,
    /// What its process shows of itself.
    own: Arc<[Metric]>,
}

struct Deployed {
    reports: Arc<dyn Reports>,
    /// By task.
    metrics: HashMap<usize, Arc<TaskMetrics>>,
}

impl RemoteTaskManager {
    fn new(register: &Register, answers: UnboundedSender<ToTaskManager>) -> Self {
        RemoteTaskManager {
            id: register.id.clone(),
            data_address: register.data_address.clone(),
            answers,
            state: Mutex::default(),
            released: Condvar::new(),
            questions: Questions::default(),
            heard: AtomicI64::new(now_millis()),
        }
    }

    fn heard(&self) {
        self.heard.store(now_millis(), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Who has closed the stream hears nothing; that it has is said elsewhere.
    fn say(&self, message: To) {
        let _ = self.answers.send(ToTaskManager { is: Some(message) });
    }

    fn report(&self, attempt: AttemptId, task: usize, event: TaskEvent) {
        let reports = self
            .state()
            .attempts
            .get(&attempt)
            .map(|deployed| deployed.reports.clone());
        if let Some(reports) = reports {
            reports.report(attempt, task, event);
        }
    }

    fn released(&self, attempt: AttemptId) {
        self.state().attempts.remove(&attempt);
        self.released.notify_all();
    }

    fn counted(&self, counted: Counted) -> Result<()> {
        let attempt = counted.attempt.unwrap_or_default().id()?;
        let state = self.state();
        let deployed = state.attempts.get(&attempt);
        let metrics = deployed.and_then(|deployed| deployed.metrics.get(&(counted.task as usize)));
        let Some(metrics) = metrics.cloned() else {
            return Ok(());
        };
        drop(state);
        metrics.set_values(&counted.values);
        metrics.sample(now_millis());
        for known in counted.known {
            if let Some(operator) = metrics.operators.get(known.operator as usize) {
                operator.set_known(metrics::decode(known.metrics));
            }
        }
        Ok(())
    }

    fn set_metrics(&self, own: Vec<Metric>) {
        self.state().own = own.into();
    }

    /// All that ran there has failed.
    fn lost(&self, why: &str) {
        let mut state = self.state();
        state.lost = true;
        let attempts = std::mem::take(&mut state.attempts);
        drop(state);
        self.released.notify_all();
        self.questions.give_up();
        for (attempt, deployed) in attempts {
            let error = Error::external(format!("TaskManager {} is lost", self.id)).with_detail(why);
            if let Some(task) = deployed.metrics.keys().min() {
                deployed
                    .reports
                    .report(attempt, *task, TaskEvent::Stopped { error: Some(error) });
            }
        }
    }
}

impl TaskManagerGateway for RemoteTaskManager {
    fn id(&self) -> &str {
        &self.id
    }

    fn data_address(&self) -> Option<&str> {
        Some(&self.data_address)
    }

    fn deploy(&self, deployment: Deployment, reports: Arc<dyn Reports>) -> Result<Vec<Arc<TaskMetrics>>> {
        let tasks = deployment.tasks_of(deployment.me);
        let metrics: Vec<(usize, Arc<TaskMetrics>)> = tasks
            .map(|place| {
                let metrics = TaskMetrics::of(
                    deployment.attempt.job,
                    &deployment.graph,
                    place.vertex,
                    place.subtask,
                    deployment.attempt.attempt,
                );
                metrics.sample(now_millis());
                (place.task, metrics)
            })
            .collect();
        let bytes = wire::encode_deployment(&deployment)?;
        let mut state = self.state();
        if state.lost {
            return Err(Error::external(format!("TaskManager {} is lost", self.id)));
        }
        state.attempts.insert(
            deployment.attempt,
            Deployed {
                reports,
                metrics: metrics.iter().cloned().collect(),
            },
        );
        drop(state);
        self.say(To::Deploy(bytes));
        Ok(metrics.into_iter().map(|(_, metrics)| metrics).collect())
    }

    fn process_metrics(&self) -> Arc<[Metric]> {
        self.state().own.clone()
    }

    fn command(&self, attempt: AttemptId, task: usize, command: Command) -> Result<()> {
        self.say(To::Command(proto::Command {
            attempt: Some(attempt.into()),
            task: task as u32,
            command: wire::encode_command(&command),
        }));
        Ok(())
    }

    fn release(&self, attempt: AttemptId, end: End) {
        let mut state = self.state();
        if !state.attempts.contains_key(&attempt) {
            return;
        }
        self.say(To::Release(Release {
            attempt: Some(attempt.into()),
            job_is_over: end == End::Job,
        }));
        while state.attempts.contains_key(&attempt) {
            state = self.released.wait(state).unwrap_or_else(|e| e.into_inner());
        }
    }

    fn inspect(&self, question: Question) -> Result<Told> {
        self.questions
            .ask(question, |message| self.say(To::Question(message)))
    }

    fn last_heard(&self) -> i64 {
        self.heard.load(Ordering::Relaxed)
    }
}
