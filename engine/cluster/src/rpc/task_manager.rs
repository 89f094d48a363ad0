//! A TaskManager's side: it finds the JobManager, registers, and does what it is told until either is lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;
use millrace_core::{Error, Result};
use millrace_runtime::Command;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;

use super::inspection;
use super::proto::control_client::ControlClient;
use super::proto::from_task_manager::Is as From;
use super::proto::metrics::Task as Counted;
use super::proto::to_task_manager::Is as To;
use super::proto::{self, FromTaskManager, Known, Metrics, Register, Released, Report, ToTaskManager};
use super::{Heartbeats, LONGEST_MESSAGE};
use crate::control::TaskEvent;
use crate::exchange::AttemptId;
use crate::gateway::{Deployment, End, Reports, TaskManagerGateway};
use crate::metrics::{self, TaskManagerMetrics};
use crate::resources::Capacity;
use crate::task_manager::TaskManager;
use crate::{wire, words};

/// Between two tries to register.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Between two words of what subtasks have counted.
const COUNTING: Duration = Duration::from_secs(1);

/// How a TaskManager takes part.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    pub capacity: Capacity,
    pub heartbeats: Heartbeats,
}

/// A TaskManager that serves JobManagers, one after the other.
pub struct Worker {
    manager: Arc<TaskManager>,
    settings: WorkerSettings,
    metrics: Option<Arc<TaskManagerMetrics>>,
    /// It is to end: JobManagers are told.
    draining: watch::Sender<bool>,
}

impl Worker {
    pub fn new(manager: Arc<TaskManager>, settings: WorkerSettings) -> Self {
        Worker {
            manager,
            settings,
            metrics: None,
            draining: watch::Sender::new(false),
        }
    }

    /// The same, which tells the JobManager what its process shows of itself.
    pub fn with_metrics(self, metrics: Arc<TaskManagerMetrics>) -> Self {
        Worker {
            metrics: Some(metrics),
            ..self
        }
    }

    /// Asks for its subtasks to be moved to other TaskManagers, of whoever leads from now on.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Serves whom `leader` names (`host:port`), until the sender of `leader` is gone.
    pub async fn run(&self, mut leader: watch::Receiver<Option<String>>) {
        let mut pause = PAUSE;
        loop {
            let Some(address) = leader.borrow_and_update().clone() else {
                if leader.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let began = Instant::now();
            let outcome = self.serve(&address, &mut leader).await;
            self.end_all().await;
            if leader.has_changed().is_err() {
                return;
            }
            if let Err(error) = outcome {
                tracing::warn!(job_manager = %address, %error, "the JobManager is lost");
            }
            // One that was there for long is tried at once.
            if began.elapsed() > LONGEST_PAUSE {
                pause = PAUSE;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                // Who leads now is there.
                _ = leader.changed() => {
                    leader.mark_changed();
                    pause = PAUSE;
                }
            }
        }
    }

    /// Ends what runs here, and waits for that.
    async fn end_all(&self) {
        let manager = self.manager.clone();
        let ended = tokio::task::spawn_blocking(move || {
            for attempt in manager.attempts() {
                manager.release(attempt, End::Attempt);
            }
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "subtasks could not be ended");
        }
    }

    /// Until the JobManager is lost, or another one leads.
    async fn serve(&self, address: &str, leader: &mut watch::Receiver<Option<String>>) -> Result<()> {
        let unreachable = |e: tonic::transport::Error| {
            Error::external("the JobManager cannot be reached")
                .with_detail(address)
                .with_source(e)
        };
        let timeout = self.settings.heartbeats.timeout;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(unreachable)?
            .connect_timeout(timeout)
            .tcp_nodelay(true);
        let channel = tokio::select! {
            connected = endpoint.connect() => connected.map_err(unreachable)?,
            _ = leader.changed() => return Err(other_leader(leader)),
        };
        let (say, queue) = unbounded_channel();
        let capacity = &self.settings.capacity;
        send(
            &say,
            From::Register(Register {
                id: self.manager.id().to_owned(),
                host: capacity.host.clone(),
                data_address: self.manager.data_address().unwrap_or_default().to_owned(),
                slots: capacity.slots as u32,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                managed_memory: capacity.managed_memory,
                process_memory: capacity.process_memory,
                cpu_cores: capacity.cpu_cores,
                physical_memory: capacity.physical_memory,
            }),
        );
        let incoming = ControlClient::new(channel)
            .max_decoding_message_size(LONGEST_MESSAGE)
            .max_encoding_message_size(LONGEST_MESSAGE)
            .attach(UnboundedReceiverStream::new(queue))
            .await
            .map_err(broke)?
            .into_inner();
        let mut attempts = Attempts {
            manager: self.manager.clone(),
            say: say.clone(),
            workers: HashMap::new(),
            is_over: Arc::default(),
        };
        let outcome = tokio::select! {
            outcome = self.listen(&say, &mut attempts, incoming) => outcome,
            _ = leader.changed() => Err(other_leader(leader)),
        };
        attempts.close().await;
        outcome
    }

    async fn listen(
        &self,
        say: &UnboundedSender<FromTaskManager>,
        attempts: &mut Attempts,
        mut incoming: tonic::Streaming<ToTaskManager>,
    ) -> Result<()> {
        let Heartbeats {
            interval: every,
            timeout,
        } = self.settings.heartbeats;
        let mut beats = interval(every);
        let mut counts = interval(COUNTING);
        for ticks in [&mut beats, &mut counts] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut heard = Instant::now();
        let mut draining = self.draining.subscribe();
        draining.mark_changed();
        loop {
            tokio::select! {
                message = incoming.next() => match message {
                    None => return Err(Error::external("the JobManager has closed the connection")),
                    Some(Err(status)) => return Err(broke(status)),
                    Some(Ok(message)) => {
                        heard = Instant::now();
                        attempts.take(message)?;
                    }
                },
                _ = beats.tick() => send(say, From::Heartbeat(proto::Heartbeat {})),
                _ = counts.tick() => {
                    let own = self.metrics.as_ref().map(|metrics| metrics.own()).unwrap_or_default();
                    send(say, From::Metrics(Metrics {
                        tasks: counted(&self.manager, |_| true),
                        own: metrics::encode(&own),
                    }));
                }
                Ok(()) = draining.changed() => {
                    if *draining.borrow_and_update() {
                        send(say, From::Draining(proto::Draining {}));
                    }
                }
                () = sleep_until(heard + timeout) => {
                    return Err(Error::external("the JobManager has not been heard of for heartbeat.timeout")
                        .with_detail(format!("{timeout:?}")));
                }
            }
        }
    }
}

/// The change is left for whoever looks for the leader next.
fn other_leader(leader: &mut watch::Receiver<Option<String>>) -> Error {
    leader.mark_changed();
    Error::external("another JobManager leads")
}

fn broke(status: tonic::Status) -> Error {
    Error::external("the connection to the JobManager broke").with_detail(status.message())
}

fn send(to: &UnboundedSender<FromTaskManager>, message: From) {
    let _ = to.send(FromTaskManager { is: Some(message) });
}

/// What the JobManager has given, each attempt on a thread of its own: what blocks for one holds no other.
struct Attempts {
    manager: Arc<TaskManager>,
    say: UnboundedSender<FromTaskManager>,
    workers: HashMap<AttemptId, (Sender<Work>, JoinHandle<()>)>,
    /// The JobManager is lost: nothing that it has asked for is begun any more.
    is_over: Arc<AtomicBool>,
}

enum Work {
    Deploy(Box<Deployment>),
    Command(usize, Command),
    Release(End),
}

impl Attempts {
    fn take(&mut self, message: ToTaskManager) -> Result<()> {
        match message.is {
            None | Some(To::Heartbeat(_)) => {}
            Some(To::Registered(registered)) => {
                words::registered_at(&registered.leader);
            }
            Some(To::Refused(why)) => {
                return Err(Error::external("the JobManager refuses this TaskManager").with_detail(why));
            }
            Some(To::Question(message)) => self.answer(message),
            Some(To::Deploy(bytes)) => {
                let deployment = wire::decode_deployment(&bytes)?;
                self.give(deployment.attempt, Work::Deploy(Box::new(deployment)))?;
            }
            Some(To::Command(command)) => {
                let attempt = command.attempt.unwrap_or_default().id()?;
                let told = wire::decode_command(&command.command)?;
                self.give(attempt, Work::Command(command.task as usize, told))?;
            }
            Some(To::Release(release)) => {
                let attempt = release.attempt.unwrap_or_default().id()?;
                let end = match release.job_is_over {
                    true => End::Job,
                    false => End::Attempt,
                };
                self.give(attempt, Work::Release(end))?;
                // Its thread ends with that.
                self.workers.remove(&attempt);
            }
        }
        Ok(())
    }

    /// Beside all else: files are read for it.
    fn answer(&self, message: proto::Question) {
        let (manager, say) = (self.manager.clone(), self.say.clone());
        let number = message.number;
        tokio::task::spawn_blocking(move || {
            let told = match inspection::question(message) {
                Some(question) => manager.inspect(question),
                None => Err(Error::external("a question is not known to this release")),
            };
            send(&say, From::Told(inspection::answer(number, told)));
        });
    }

    fn give(&mut self, attempt: AttemptId, work: Work) -> Result<()> {
        if !self.workers.contains_key(&attempt) {
            let (sender, receiver) = crossbeam_channel::unbounded();
            let (manager, say, is_over) = (self.manager.clone(), self.say.clone(), self.is_over.clone());
            let thread = std::thread::Builder::new()
                .name(format!("attempt-{}", attempt.attempt))
                .stack_size(crate::STACK)
                .spawn(move || {
                    for work in receiver {
                        if !is_over.load(Ordering::Acquire) {
                            do_work(&manager, &say, attempt, work);
                        }
                    }
                })
                .map_err(|e| Error::external("a thread could not be started").with_source(e))?;
            self.workers.insert(attempt, (sender, thread));
        }
        if let Some((worker, _)) = self.workers.get(&attempt) {
            let _ = worker.send(work);
        }
        Ok(())
    }

    /// Waits for what is being begun, so that it can be ended.
    async fn close(self) {
        self.is_over.store(true, Ordering::Release);
        let threads: Vec<JoinHandle<()>> = self.workers.into_values().map(|(_, thread)| thread).collect();
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        if let Err(error) = joined.await {
            tracing::error!(%error, "deployments could not be waited for");
        }
    }
}

/// What subtasks of these attempts have counted.
fn counted(manager: &TaskManager, of: impl Fn(AttemptId) -> bool) -> Vec<Counted> {
    let tasks = manager.metrics().into_iter().filter(|(attempt, ..)| of(*attempt));
    let counted = tasks.map(|(attempt, task, metrics)| {
        let operators = metrics.operators.iter().enumerate();
        let known = operators.map(|(index, operator)| Known {
            operator: index as u32,
            metrics: metrics::encode(&operator.known()),
        });
        Counted {
            attempt: Some(attempt.into()),
            task: task as u32,
            values: metrics.values(),
            known: known.filter(|known| !known.metrics.is_empty()).collect(),
        }
    });
    counted.collect()
}

fn do_work(manager: &TaskManager, say: &UnboundedSender<FromTaskManager>, attempt: AttemptId, work: Work) {
    match work {
        Work::Deploy(deployment) => {
            let first = deployment.tasks_of(deployment.me).next().map(|place| place.task);
            let reports: Arc<dyn Reports> = Arc::new(Remote(say.clone()));
            if let (Err(error), Some(task)) = (manager.deploy(*deployment, reports.clone()), first) {
                reports.report(attempt, task, TaskEvent::Stopped { error: Some(error) });
            }
        }
        Work::Command(task, command) => {
            if let Err(error) = manager.command(attempt, task, command) {
                Remote(say.clone()).report(attempt, task, TaskEvent::Stopped { error: Some(error) });
            }
        }
        Work::Release(end) => {
            manager
                .metrics()
                .iter()
                .for_each(|(_, _, metrics)| metrics.refresh());
            let tasks = counted(manager, |counted| counted == attempt);
            send(
                say,
                From::Metrics(Metrics {
                    tasks,
                    own: Vec::new(),
                }),
            );
            manager.release(attempt, end);
            send(
                say,
                From::Released(Released {
                    attempt: Some(attempt.into()),
                }),
            );
        }
    }
}

/// Reports that go to the JobManager.
struct Remote(UnboundedSender<FromTaskManager>);

impl Reports for Remote {
    fn report(&self, attempt: AttemptId, task: usize, event: TaskEvent) {
        send(
            &self.0,
            From::Report(Report {
                attempt: Some(attempt.into()),
                task: task as u32,
                event: wire::encode_report(&event),
            }),
        );
    }
}
