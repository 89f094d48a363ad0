//! JobManagers and TaskManagers: the product's own parts, put together as its binary does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::dispatcher::Dispatcher;
use millrace_cluster::exchange::Exchange;
use millrace_cluster::ha::Storage;
use millrace_cluster::process::{Application, JobManager};
use millrace_cluster::resources::Capacity;
use millrace_cluster::rpc::{Heartbeats, Worker, WorkerSettings};
use millrace_cluster::{JobHandle, Outcome, TaskManager};
use millrace_core::{Configuration, Error, ErrorKind};
use millrace_state::{JobStore, Status, location};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::kernel::{self, Process};
use crate::logging;
use crate::world::{Role, World, host_of};

/// How often who leads is asked for.
const ASK: Duration = Duration::from_millis(300);
/// Before a job that ended is tried again.
const AGAIN: Duration = Duration::from_millis(700);
const SLOTS: usize = 2;
const RPC_PORT: u16 = 6123;
const DATA_PORT: u16 = 6121;
pub const FOLDER: &str = "model://checkpoints";

/// Where a process's I/O is done.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made")
}

fn heartbeats() -> Heartbeats {
    Heartbeats {
        interval: Duration::from_millis(500),
        timeout: Duration::from_secs(2),
    }
}

/// Stands by until it leads, then runs the job as long as it does.
pub fn job_manager(world: &Arc<World>, index: usize) {
    while world.election.lead(index) != Some(true) {
        std::thread::sleep(ASK);
    }
    kernel::log("leads");
    let runtime = runtime();
    let handle = runtime.handle().clone();
    let host = host_of(Role::JobManager(index));
    let mut config = Configuration::default();
    for (key, value) in [
        ("jobmanager.bind-host", host.to_string()),
        ("jobmanager.rpc.address", host.to_string()),
        ("jobmanager.rpc.port", RPC_PORT.to_string()),
        ("heartbeat.interval", "500 ms".to_owned()),
        ("heartbeat.timeout", "2 s".to_owned()),
    ] {
        config.set(key, value);
    }
    let registry = world.spec.registry.clone();
    let mut manager = JobManager::listen(&config, registry, &handle).expect("the port is free");
    let application = Arc::new(TheJob {
        world: world.clone(),
        runtime: handle,
    });
    manager
        .start("", application)
        .expect("without high availability it leads at once");
    world.election.announce(index, manager.address.to_string());
    loop {
        std::thread::sleep(ASK);
        if world.election.lead(index) == Some(false) {
            kernel::log("leads no more");
            // Some give their jobs up first, some end at once.
            if kernel::random(|random| random.chance(500)) {
                manager.close(false);
            }
            return;
        }
    }
}

/// What a JobManager does as soon as it leads.
struct TheJob {
    world: Arc<World>,
    runtime: tokio::runtime::Handle,
}

impl Application for TheJob {
    fn leads(&self, dispatcher: &Dispatcher, _: Option<&Storage>) {
        let (world, runtime, dispatcher) = (self.world.clone(), self.runtime.clone(), dispatcher.clone());
        let thread = std::thread::Builder::new().name("application".to_owned());
        let running = thread.spawn(move || run(&world, &runtime, &dispatcher));
        drop(running.expect("a thread can be started"));
    }
}

/// Until the job has come to its end.
fn run(world: &World, runtime: &tokio::runtime::Handle, dispatcher: &Dispatcher) {
    loop {
        match is_finished(world, runtime) {
            Ok(true) => {
                kernel::log("the job is finished");
                return world.finish();
            }
            Ok(false) => match begin(world, dispatcher).and_then(|job| job.join()) {
                Ok(Outcome::Suspended) => return,
                Ok(outcome) => kernel::log(&format!("the job has ended: {outcome:?}")),
                Err(error) => failed(&error),
            },
            // It is asked again.
            Err(error) => failed(&error),
        }
        std::thread::sleep(AGAIN);
    }
}

fn begin(world: &World, dispatcher: &Dispatcher) -> millrace_core::Result<JobHandle> {
    let job = dispatcher.submit(world.spec.clone())?;
    world.begun(job.control());
    Ok(job)
}

/// As who leads has to ask before it begins a job that another may have brought to its end.
fn is_finished(world: &World, runtime: &tokio::runtime::Handle) -> millrace_core::Result<bool> {
    let store = location::open(FOLDER, &Configuration::default(), runtime)?;
    let head = JobStore::with_id(store, world.spec.id, &world.spec.name).head()?;
    Ok(head.is_some_and(|head| head.status == Status::Finished))
}

/// What a job ends with that another may go on with.
fn failed(error: &Error) {
    let line = format!("the job failed: {:?}: {error}", error.kind()).replace('\n', " |");
    kernel::log(&line);
    match error.kind() {
        ErrorKind::Fenced => end(),
        ErrorKind::External => {}
        ErrorKind::User | ErrorKind::Internal | ErrorKind::DataLoss => logging::found(&line),
    }
}

/// The process ends.
fn end() {
    if let Some(process) = Process::current() {
        process.kill();
    }
    std::thread::yield_now();
}

/// Serves who leads.
pub fn task_manager(world: &Arc<World>, index: usize) {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    let host = host_of(Role::TaskManager(index)).to_string();
    let address = format!("{host}:{DATA_PORT}");
    let socket: SocketAddr = address.parse().expect("an address");
    let exchange = Exchange::listen(socket, &handle).expect("the port is free");
    let capacity = Capacity {
        host: host.clone(),
        slots: SLOTS,
        managed_memory: 64 << 20,
        process_memory: 256 << 20,
        cpu_cores: 1.0,
    };
    let id = format!(
        "{address}-{:06x}",
        kernel::random(|random| random.range(0..1 << 24))
    );
    let registry = world.spec.registry.clone();
    let config = world.spec.config.clone();
    let manager = TaskManager::new(id, config, SLOTS, registry, handle, exchange, address);
    let settings = WorkerSettings {
        capacity,
        heartbeats: heartbeats(),
    };
    let worker = Worker::new(Arc::new(manager), settings);
    let (leader, leaders) = watch::channel(None);
    let this = world.clone();
    let election = std::thread::Builder::new().name("election".to_owned());
    let following = election.spawn(move || {
        loop {
            if let Some(address) = this.election.address(index) {
                leader.send_if_modified(|known| {
                    let is_new = address.is_some() && *known != address;
                    if is_new {
                        known.clone_from(&address);
                    }
                    is_new
                });
            }
            std::thread::sleep(ASK);
        }
    });
    drop(following.expect("a thread can be started"));
    runtime.block_on(worker.run(leaders));
}
