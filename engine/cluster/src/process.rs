//! The processes of a cluster: a JobManager that takes TaskManagers and jobs while it leads, and a TaskManager.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_connector_api::Registry;
use millrace_core::{Configuration, Error, Result, options};
use millrace_ha::{Addresses, Election, HaServices, LeaderInfo, Leading};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;

use crate::dispatcher::{Dispatcher, JobEntries};
use crate::exchange::Exchange;
use crate::ha::{Entries, Storage};
use crate::metrics::{JobManagerMetrics, Process, TaskManagerMetrics, memory_limit};
use crate::resources::{Capacity, ResourceManager};
use crate::rpc::{ControlService, Heartbeats, Worker, WorkerSettings};
use crate::task_manager::TaskManager;

/// What a JobManager is to the cluster.
#[derive(Clone)]
pub enum Role {
    Leader(Dispatcher),
    /// Another one leads, or nobody yet.
    Standby,
}

/// Takes TaskManagers and jobs while it leads: always, where there is no high availability.
pub struct JobManager {
    pub metrics: Arc<JobManagerMetrics>,
    /// Where it listens for TaskManagers.
    pub address: SocketAddr,
    config: Configuration,
    registry: Registry,
    runtime: Handle,
    /// How others reach it.
    control: String,
    role: watch::Sender<Role>,
    services: Option<(HaServices, Storage)>,
    election: Option<(Election, JoinHandle<()>)>,
}

/// Called on a thread that may block, each time that the JobManager begins to lead, after it has recovered the jobs
/// that are written down. Says what is kept of jobs that have ended.
pub trait Application: Send + Sync {
    /// How jobs ended is kept, for whoever leads next not to run them again.
    fn keeps_results(&self) -> bool {
        false
    }

    fn leads(&self, dispatcher: &Dispatcher, storage: Option<&Storage>);
}

/// A session cluster: nothing begins by itself.
pub struct Session;

impl Application for Session {
    fn leads(&self, _: &Dispatcher, _: Option<&Storage>) {}
}

impl JobManager {
    /// Listens for TaskManagers, and refuses them until it leads.
    pub fn listen(config: &Configuration, registry: Registry, runtime: &Handle) -> Result<JobManager> {
        let heartbeats = Heartbeats::from_config(config)?;
        let host = config.get_optional(&options::JOB_MANAGER_BIND_HOST)?;
        let port = match config.get_optional(&options::JOB_MANAGER_BIND_PORT)? {
            Some(port) => port,
            None => config.get(&options::JOB_MANAGER_PORT)?,
        };
        let bind = SocketAddr::new(bind_address(host.as_deref())?, port);
        let listener = runtime.block_on(TcpListener::bind(bind)).map_err(|e| {
            Error::external("the port for TaskManagers cannot be listened on")
                .with_detail(bind.to_string())
                .with_source(e)
                .with_hint("set jobmanager.rpc.port to one that is free, and jobmanager.bind-host to an address of this machine")
        })?;
        let address = listener
            .local_addr()
            .map_err(|e| Error::external("the port for TaskManagers is not known").with_source(e))?;
        let advertised = match config.get(&options::JOB_MANAGER_PORT)? {
            0 => address.port(),
            port => port,
        };
        let host = match config.get_optional(&options::JOB_MANAGER_ADDRESS)? {
            Some(host) => host,
            None if address.ip().is_loopback() => "localhost".to_owned(),
            None => host_name(),
        };
        let role = watch::Sender::new(Role::Standby);
        let services = match HaServices::open(config, runtime)? {
            Some(services) => Some((services, Storage::open(config, runtime)?)),
            None => None,
        };
        let control = format!("{host}:{advertised}");
        let service = ControlService::new(role.subscribe(), heartbeats, control.clone());
        runtime.spawn(async move {
            let server = tonic::transport::Server::builder()
                .tcp_nodelay(true)
                .add_service(service.server())
                .serve_with_incoming(TcpListenerStream::new(listener));
            if let Err(error) = server.await {
                tracing::error!(%error, "TaskManagers can no longer register");
            }
        });
        tracing::info!(%address, "listening for TaskManagers");
        let metrics = Arc::new(JobManagerMetrics::new(config, &host)?);
        Ok(JobManager {
            metrics,
            address,
            config: config.clone(),
            registry,
            runtime: runtime.clone(),
            control,
            role,
            services,
            election: None,
        })
    }

    /// Tells of each change.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Who leads, for standbys and their clients. None: there is no high availability, and this one does.
    pub fn leader(&self) -> Option<watch::Receiver<Option<LeaderInfo>>> {
        self.services.as_ref().map(|(services, _)| services.leader())
    }

    /// Leads from now on; or contends for it, where there is high availability. `rest` is how clients reach it.
    pub fn start(&mut self, rest: &str, application: Arc<dyn Application>) -> Result<()> {
        let resources = ResourceManager::default;
        let Some((services, storage)) = self.services.clone() else {
            let dispatcher = Dispatcher::new(
                self.config.clone(),
                self.registry.clone(),
                self.runtime.clone(),
                resources(),
                None,
            );
            self.role.send_replace(Role::Leader(dispatcher.clone()));
            application.leads(&dispatcher, None);
            return Ok(());
        };
        let election = services.elect(Addresses {
            control: self.control.clone(),
            rest: rest.to_owned(),
        });
        let mut leading = election.leading();
        let role = self.role.clone();
        let retained = self.config.get(&options::CHECKPOINTS_RETAINED)?;
        let (config, registry, runtime) = (self.config.clone(), self.registry.clone(), self.runtime.clone());
        let task = self.runtime.spawn(async move {
            loop {
                let now = leading.borrow_and_update().clone();
                let (role, application, storage) = (role.clone(), application.clone(), storage.clone());
                let (config, registry, runtime) = (config.clone(), registry.clone(), runtime.clone());
                // Both block: taking over reads from stores, giving up waits for subtasks.
                let changed = tokio::task::spawn_blocking(move || match now {
                    Leading::NotLeading => give_up(&role),
                    Leading::Leading(leadership) => {
                        give_up(&role);
                        tracing::info!(session = %leadership.session(), "this JobManager leads");
                        let keeps = application.keeps_results();
                        let entries: Arc<dyn JobEntries> = Arc::new(Entries::new(
                            storage.clone(),
                            leadership,
                            runtime.clone(),
                            retained,
                            keeps,
                        ));
                        let dispatcher = Dispatcher::new(
                            config,
                            registry.clone(),
                            runtime,
                            ResourceManager::default(),
                            Some(entries),
                        );
                        role.send_replace(Role::Leader(dispatcher.clone()));
                        // What has to be waited for is not waited for here: the next change may come.
                        std::thread::spawn(move || {
                            recover(&dispatcher, &storage, &registry);
                            application.leads(&dispatcher, Some(&storage));
                        });
                    }
                });
                if let Err(error) = changed.await {
                    tracing::error!(%error, "a change of leadership failed");
                }
                if leading.changed().await.is_err() {
                    return;
                }
            }
        });
        self.election = Some((election, task));
        Ok(())
    }

    /// Gives its jobs up, for another JobManager to go on with, and lets that lead. With `is_over`, nothing of the
    /// cluster is left: all of its jobs have ended.
    pub fn close(mut self, is_over: bool) {
        give_up(&self.role);
        if let Some((election, task)) = self.election.take() {
            self.runtime.block_on(async {
                match is_over {
                    true => election.close_and_clean_up().await,
                    false => election.close().await,
                }
                let _ = task.await;
            });
        }
    }
}

/// Nothing runs here any more when this comes back.
fn give_up(role: &watch::Sender<Role>) {
    let before = role.borrow().clone();
    if let Role::Leader(dispatcher) = before {
        tracing::info!("this JobManager no longer leads");
        // TaskManagers go when their jobs have been given up: so these do not take that for a loss.
        dispatcher.suspend();
        role.send_replace(Role::Standby);
    }
}

/// Goes on with the jobs of the JobManager before. One that cannot be read or begun holds no other up.
fn recover(dispatcher: &Dispatcher, storage: &Storage, registry: &Registry) {
    let mut pause = Duration::from_millis(100);
    let specs = loop {
        match storage.jobs(registry) {
            Ok(specs) => break specs,
            Err(error) => {
                tracing::error!(%error, "the jobs that are written down cannot be read; trying again");
                if dispatcher.is_closed() {
                    return;
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(10));
            }
        }
    };
    for spec in specs {
        dispatcher.recover(spec);
    }
}

/// A TaskManager as configured; it serves the JobManager at `jobmanager.rpc.address`, or the one that leads where
/// there is high availability.
pub struct TaskManagerProcess {
    pub manager: Arc<TaskManager>,
    pub metrics: Arc<TaskManagerMetrics>,
    worker: Worker,
    leaders: watch::Receiver<Option<String>>,
    /// Keeps `leaders` going.
    _leader: watch::Sender<Option<String>>,
    _services: Option<HaServices>,
}

impl TaskManagerProcess {
    pub fn new(config: &Configuration, registry: Registry, runtime: &Handle) -> Result<Self> {
        let config = &with_managed_memory(config)?;
        let heartbeats = Heartbeats::from_config(config)?;
        let services = HaServices::open(config, runtime)?;
        let fixed = match &services {
            Some(_) => None,
            None => Some(fixed_job_manager(config)?),
        };
        let bind_host = config.get_optional(&options::TASK_MANAGER_BIND_HOST)?;
        let bind = bind_address(bind_host.as_deref())?;
        let host = match config.get_optional(&options::TASK_MANAGER_HOST)? {
            Some(host) => host,
            None if bind.is_loopback() => bind.to_string(),
            None => match fixed.as_deref().and_then(address_towards) {
                Some(address) => address.to_string(),
                None => host_name(),
            },
        };
        let port = match config.get_optional(&options::TASK_MANAGER_DATA_BIND_PORT)? {
            Some(port) => port,
            None => config.get(&options::TASK_MANAGER_DATA_PORT)?,
        };
        let exchange = Exchange::listen(SocketAddr::new(bind, port), runtime)?;
        let advertised = match config.get(&options::TASK_MANAGER_DATA_PORT)? {
            0 => exchange.address().port(),
            port => port,
        };
        let id = match config.get_optional(&options::TASK_MANAGER_ID)? {
            Some(id) => id,
            None => format!(
                "{host}:{advertised}-{}",
                &uuid::Uuid::new_v4().simple().to_string()[..6]
            ),
        };
        let slots = config.get(&options::TASK_SLOTS)?;
        if slots == 0 {
            return Err(Error::user("taskmanager.numberOfTaskSlots must be at least 1"));
        }
        let capacity = Capacity {
            host: host.clone(),
            slots,
            managed_memory: config.get(&options::MANAGED_MEMORY)?.0,
            process_memory: config
                .get_optional(&options::PROCESS_MEMORY)?
                .map_or(0, |size| size.0),
            cpu_cores: std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64),
            physical_memory: physical_memory(),
        };
        let address = format!("{host}:{advertised}");
        let manager = Arc::new(TaskManager::new(
            id,
            config.clone(),
            slots,
            registry,
            runtime.clone(),
            exchange,
            address,
        ));
        let limit = Some(capacity.process_memory).filter(|bytes| *bytes > 0);
        let metrics = Arc::new(TaskManagerMetrics {
            process: Process::new(memory_limit(limit)),
            host,
            manager: manager.clone(),
            managed_memory: capacity.managed_memory,
        });
        let worker = Worker::new(manager.clone(), WorkerSettings { capacity, heartbeats });
        let worker = worker.with_metrics(metrics.clone());
        let (leader, leaders) = watch::channel(fixed);
        if let Some(services) = &services {
            let mut known = services.leader();
            let leader = leader.clone();
            runtime.spawn(async move {
                loop {
                    let address = known
                        .borrow_and_update()
                        .as_ref()
                        .map(|leader| leader.addresses.control.clone());
                    leader.send_if_modified(|before| {
                        let is_other = *before != address;
                        *before = address;
                        is_other
                    });
                    if known.changed().await.is_err() {
                        return;
                    }
                }
            });
        }
        Ok(TaskManagerProcess {
            manager,
            metrics,
            worker,
            leaders,
            _leader: leader,
            _services: services,
        })
    }

    /// Serves for ever; what runs here is ended where this is dropped.
    pub async fn run(&self) {
        self.worker.run(self.leaders.clone()).await;
    }

    /// Has its subtasks moved to other TaskManagers, after a checkpoint. Comes back when nothing runs here any more, or
    /// after `patience`. `run` has to go on meanwhile.
    pub async fn drain(&self, patience: Duration) {
        self.worker.drain();
        let until = Instant::now() + patience;
        while !self.manager.attempts().is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// With memory for keyed state in proportion to the process's, where only that is given.
fn with_managed_memory(config: &Configuration) -> Result<Configuration> {
    let mut config = config.clone();
    let process = config.get_optional(&options::PROCESS_MEMORY)?;
    if let Some(process) = process
        && !config.is_given(&options::MANAGED_MEMORY)
    {
        let fraction = config.get(&options::MANAGED_MEMORY_FRACTION)?;
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::user("taskmanager.memory.managed.fraction is out of range")
                .with_detail(fraction.to_string())
                .with_hint("it takes 0 to 1"));
        }
        let managed = (process.0 as f64 * fraction) as u64;
        config.set(options::MANAGED_MEMORY.key, managed.to_string());
    }
    Ok(config)
}

fn fixed_job_manager(config: &Configuration) -> Result<String> {
    let Some(host) = config.get_optional(&options::JOB_MANAGER_ADDRESS)? else {
        return Err(Error::user("jobmanager.rpc.address is not set").with_hint(
            "a TaskManager needs to know where its JobManager is: -D jobmanager.rpc.address=HOST; or high-availability.type",
        ));
    };
    Ok(format!("{host}:{}", config.get(&options::JOB_MANAGER_PORT)?))
}

/// The address of this machine on the way to another: what that one reaches it by. Nothing is sent.
fn address_towards(peer: &str) -> Option<IpAddr> {
    let peer = peer.to_socket_addrs().ok()?.next()?;
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The address of a bind-host; localhost without one.
pub fn bind_address(host: Option<&str>) -> Result<IpAddr> {
    let host = host.unwrap_or("localhost");
    let resolved = (host, 0)
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next());
    resolved
        .map(|address| address.ip())
        .ok_or_else(|| Error::user("the address to listen on is not one of this machine").with_detail(host))
}

/// Bytes of the machine; 0 where it does not say.
fn physical_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = kib.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// As the machine calls itself.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
