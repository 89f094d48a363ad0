//! A JobManager with TaskManagers that come and go, and what a running job can be asked for.

#[path = "../it/model.rs"]
#[allow(dead_code, reason = "the other tests' part of the world")]
mod model;
mod savepoints;

use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::history::CheckpointOutcome;
use millrace_cluster::process::{JobManager, Role, Session, TaskManagerProcess};
use millrace_cluster::status::{Bounds, State};
use millrace_cluster::{Discard, Dispatcher, JobHandle, Outcome, Start};
use millrace_core::{Configuration, ErrorKind};
use millrace_testkit::wait;
use model::World;
use tokio::task::JoinHandle;

/// Waits for a condition; a hang is a failure that says what was waited for.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    wait::until(what, Duration::from_secs(60), || Ok(condition().then_some(()))).unwrap();
}

/// Waits until so many more rows are visible.
pub fn rows_follow(world: &World, rows: usize) {
    let seen = world.count();
    wait_for("rows", || world.count() > seen + rows);
}

/// Every row once, in whatever order.
pub fn assert_each_row_once(world: &World) {
    let mut visible = world.visible();
    visible.sort_unstable();
    for pair in visible.windows(2) {
        let ((split, n), (next_split, next)) = (pair[0], pair[1]);
        let follows = if next_split == split { n + 1 } else { 0 };
        assert_eq!(next, follows, "split {next_split}");
    }
}

/// A JobManager in this process, and TaskManagers that reach it over TCP.
pub struct Cluster<'a> {
    world: &'a World,
    config: Configuration,
    pub dispatcher: Dispatcher,
    /// It leads as long as it is there.
    _job_manager: JobManager,
}

pub struct Worker {
    process: Arc<TaskManagerProcess>,
    running: JoinHandle<()>,
}

impl<'a> Cluster<'a> {
    pub fn new(world: &'a World) -> Self {
        let mut config = model::on_this_machine(Configuration::default());
        let mut job_manager = JobManager::listen(&config, world.registry(), world.runtime.handle()).unwrap();
        job_manager.start("", Arc::new(Session)).unwrap();
        let Role::Leader(dispatcher) = job_manager.role().borrow().clone() else {
            panic!("it leads");
        };
        config.set("jobmanager.rpc.port", job_manager.address.port().to_string());
        Cluster {
            world,
            config,
            dispatcher,
            _job_manager: job_manager,
        }
    }

    pub fn add(&self, slots: usize) -> Worker {
        let mut config = self.config.clone();
        config.set("taskmanager.numberOfTaskSlots", slots.to_string());
        let there = self.slots();
        let process =
            TaskManagerProcess::new(&config, self.world.registry(), self.world.runtime.handle()).unwrap();
        let process = Arc::new(process);
        let running = process.clone();
        let running = self
            .world
            .runtime
            .handle()
            .spawn(async move { running.run().await });
        wait_for("a TaskManager that registers", || self.slots() >= there + slots);
        Worker { process, running }
    }

    pub fn slots(&self) -> usize {
        self.dispatcher.resources().slots().all
    }

    pub fn submit(&self, start: Start, settings: &[(&str, &str)]) -> JobHandle {
        let spec = self.world.spec(start, self.world.config(settings, true));
        self.dispatcher.submit(spec).unwrap()
    }
}

impl Worker {
    /// As at SIGTERM: it ends when nothing runs there any more.
    fn drain(self, world: &World) {
        world
            .runtime
            .handle()
            .block_on(self.process.drain(Duration::from_secs(60)));
        assert!(self.process.manager.attempts().is_empty());
        self.running.abort();
    }
}

pub fn stop(job: JobHandle) {
    job.control().stop();
    assert_eq!(job.join().unwrap(), Outcome::Stopped);
}

/// How many subtasks the job's first vertex has.
fn width(job: &JobHandle) -> usize {
    job.status().executions.iter().filter(|e| e.vertex == 0).count()
}

fn is_running(job: &JobHandle) -> bool {
    job.status().state == State::Running
}

#[test]
fn too_few_slots_are_waited_for_and_then_named() {
    let world = World::new();
    let cluster = Cluster::new(&world);
    cluster.add(1);
    let settings = [("parallelism.default", "3"), ("slot.request.timeout", "100 ms")];
    let job = cluster.submit(
        Start::Resume,
        &[settings.as_slice(), &[("restart-strategy.type", "none")]].concat(),
    );
    let error = job.join().unwrap_err();
    assert_eq!(error.message(), "no resources available");
    let text = error.to_string();
    assert!(
        text.contains("needs 3 slots; 1 are free, of 1 on 1 TaskManagers"),
        "{text}"
    );

    let job = cluster.submit(Start::Resume, &[("parallelism.default", "3")]);
    wait_for("a job that waits", || {
        job.status().state == State::WaitingForResources
    });
    cluster.add(2);
    rows_follow(&world, 1000);
    stop(job);
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn subtasks_of_a_taskmanager_that_ends_move_without_a_failure() {
    let world = World::new();
    let cluster = Cluster::new(&world);
    let first = cluster.add(2);
    let job = cluster.submit(Start::Resume, &[("parallelism.default", "2")]);
    rows_follow(&world, 1000);
    cluster.add(2);
    first.drain(&world);
    wait_for("the TaskManager to be gone", || cluster.slots() == 2);
    rows_follow(&world, 1000);
    let status = job.status();
    assert_eq!((status.restarts, status.rescales), (0, 1));
    assert!(status.exceptions.entries.is_empty());
    stop(job);
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn a_job_is_given_another_parallelism_while_it_runs() {
    let world = World::new();
    world.keep_rows_by_key();
    let cluster = Cluster::new(&world);
    cluster.add(4);
    let job = cluster.submit(Start::Resume, &[("parallelism.default", "2")]);
    rows_follow(&world, 1000);
    for wanted in [4, 1, 3] {
        let vertices = job.status().graph.vertices.len();
        let bounds = Bounds {
            least: 1,
            most: wanted,
        };
        let asked = (0..vertices).map(|vertex| (vertex, bounds)).collect();
        job.control().set_bounds(asked).blocking_recv().unwrap().unwrap();
        wait_for("the new parallelism", || {
            width(&job) == wanted && is_running(&job)
        });
        rows_follow(&world, 1000);
    }
    let refused = job.control().set_bounds(vec![(
        0,
        Bounds {
            least: 1,
            most: 100_000,
        },
    )]);
    let error = refused.blocking_recv().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    let status = job.status();
    assert_eq!((status.restarts, status.rescales), (0, 3));
    stop(job);
    assert_each_row_once(&world);
}

#[test]
fn a_reactive_job_takes_what_slots_there_are() {
    let world = World::new();
    let cluster = Cluster::new(&world);
    cluster.add(1);
    let job = cluster.submit(
        Start::Resume,
        &[
            ("parallelism.default", "2"),
            ("scheduler-mode", "reactive"),
            (
                "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling",
                "0 s",
            ),
            ("restart-strategy.exponential-delay.initial-backoff", "1 ms"),
        ],
    );
    rows_follow(&world, 1000);
    assert_eq!(width(&job), 1);
    let more = cluster.add(3);
    wait_for("more subtasks", || width(&job) == 4 && is_running(&job));
    rows_follow(&world, 1000);
    assert_eq!(job.status().restarts, 0);
    // As if it were killed.
    more.running.abort();
    wait_for("fewer subtasks", || width(&job) == 1 && is_running(&job));
    rows_follow(&world, 1000);
    let status = job.status();
    assert_eq!(status.restarts, 1);
    let root = &status.exceptions.entries[0].root;
    assert!(root.message.ends_with("is lost"), "{root:?}");
    assert!(root.task.is_some());
    stop(job);
    assert_each_row_once(&world);
}

#[test]
fn a_cancelled_job_shows_what_is_complete_and_leaves_nothing() {
    for discards in [false, true] {
        let world = World::new();
        let cluster = Cluster::new(&world);
        cluster.add(1);
        let mut spec = world.spec(Start::Resume, world.config(&[], true));
        spec.discard = Discard {
            finished: discards,
            cancelled: discards,
        };
        let job = cluster.dispatcher.submit(spec).unwrap();
        rows_follow(&world, 1000);
        job.control().cancel();
        assert_eq!(job.join().unwrap(), Outcome::Cancelled);
        assert_eq!(world.open_transactions(), 0);
        world.assert_no_gap_and_no_repetition();
        assert_eq!(world.checkpoint_folders().is_empty(), discards);
        let shown = cluster.dispatcher.jobs();
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].state.flink(), "CANCELED");
        // One that kept its checkpoints goes on from there.
        let job = cluster.submit(Start::Resume, &[]);
        if discards {
            wait_for("rows from the first", || {
                world.visible().iter().filter(|(_, n)| *n == 0).count() == 2
            });
        } else {
            rows_follow(&world, 1000);
            world.assert_no_gap_and_no_repetition();
        }
        stop(job);
    }
}

#[test]
fn a_job_of_an_id_that_runs_is_refused() {
    let world = World::new();
    let cluster = Cluster::new(&world);
    cluster.add(2);
    let job = cluster.submit(Start::Resume, &[]);
    let spec = world.spec(Start::Resume, world.config(&[], true));
    let error = cluster.dispatcher.submit(spec).err().unwrap();
    assert!(error.to_string().contains("running already"), "{error}");
    stop(job);
}

#[test]
fn a_jobmanager_that_no_longer_leads_gives_its_jobs_up() {
    let world = World::new();
    let cluster = Cluster::new(&world);
    cluster.add(1);
    let job = cluster.submit(Start::Resume, &[]);
    rows_follow(&world, 1000);
    cluster.dispatcher.suspend();
    assert_eq!(job.join().unwrap(), Outcome::Suspended);
    let spec = world.spec(Start::Resume, world.config(&[], true));
    assert!(cluster.dispatcher.submit(spec).is_err());
    let next = Cluster::new(&world);
    next.add(1);
    let job = next.submit(Start::Resume, &[]);
    rows_follow(&world, 1000);
    stop(job);
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn checkpoints_are_remembered_with_what_each_subtask_gave() {
    let world = World::new();
    world.keep_rows_by_key();
    let cluster = Cluster::new(&world);
    cluster.add(2);
    let settings = [
        ("parallelism.default", "2"),
        ("execution.checkpointing.interval", "1 h"),
    ];
    let job = cluster.submit(Start::Resume, &settings);
    wait_for("a job that runs", || is_running(&job));
    let first = job.control().checkpoint().blocking_recv().unwrap().unwrap();
    let second = job.control().checkpoint().blocking_recv().unwrap().unwrap();
    assert!(second > first);
    let history = job.status().checkpoints;
    assert_eq!((history.triggered, history.completed, history.failed), (2, 2, 0));
    let record = history.latest_completed.unwrap();
    assert_eq!(record.id, second);
    assert_eq!(record.subtasks.len(), record.tasks);
    assert!(record.subtasks.iter().map(|s| s.state_bytes).sum::<u64>() > 0);
    assert!(
        matches!(&record.outcome, CheckpointOutcome::Completed { path: Some(path) } if path.contains("chk-"))
    );
    stop(job);
}
