//! The processes of a cluster: a JobManager that takes TaskManagers, and a TaskManager.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_connector_api::Registry;
use millrace_core::{Configuration, Error, Result, options};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;

use crate::dispatcher::Dispatcher;
use crate::exchange::Exchange;
use crate::resources::{Capacity, ResourceManager};
use crate::rpc::{ControlService, Heartbeats, Worker, WorkerSettings};
use crate::task_manager::TaskManager;

/// Takes TaskManagers and jobs for as long as the runtime lives.
pub struct JobManager {
    pub dispatcher: Dispatcher,
    /// Where it listens for TaskManagers.
    pub address: SocketAddr,
}

impl JobManager {
    pub fn start(config: &Configuration, registry: Registry, runtime: &Handle) -> Result<JobManager> {
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
        let resources = ResourceManager::default();
        let service = ControlService::new(resources.clone(), heartbeats, address.to_string());
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
        Ok(JobManager {
            dispatcher: Dispatcher::new(config.clone(), registry, runtime.clone(), resources, None),
            address,
        })
    }
}

/// A TaskManager as configured; it serves the JobManager at `jobmanager.rpc.address`.
pub struct TaskManagerProcess {
    pub manager: Arc<TaskManager>,
    worker: Worker,
    job_manager: String,
}

impl TaskManagerProcess {
    pub fn new(config: &Configuration, registry: Registry, runtime: &Handle) -> Result<Self> {
        let heartbeats = Heartbeats::from_config(config)?;
        let Some(job_manager) = config.get_optional(&options::JOB_MANAGER_ADDRESS)? else {
            return Err(Error::user("jobmanager.rpc.address is not set").with_hint(
                "a TaskManager needs to know where its JobManager is: -D jobmanager.rpc.address=HOST",
            ));
        };
        let job_manager = format!("{job_manager}:{}", config.get(&options::JOB_MANAGER_PORT)?);
        let host = match config.get_optional(&options::TASK_MANAGER_HOST)? {
            Some(host) => host,
            None => host_name(),
        };
        let bind_host = config.get_optional(&options::TASK_MANAGER_BIND_HOST)?;
        let port = match config.get_optional(&options::TASK_MANAGER_DATA_BIND_PORT)? {
            Some(port) => port,
            None => config.get(&options::TASK_MANAGER_DATA_PORT)?,
        };
        let exchange = Exchange::listen(
            SocketAddr::new(bind_address(bind_host.as_deref())?, port),
            runtime,
        )?;
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
        let worker = Worker::new(manager.clone(), WorkerSettings { capacity, heartbeats });
        Ok(TaskManagerProcess {
            manager,
            worker,
            job_manager,
        })
    }

    /// Serves for ever; what runs here is ended where this is dropped.
    pub async fn run(&self) {
        let (_leader, leaders) = watch::channel(Some(self.job_manager.clone()));
        self.worker.run(leaders).await;
    }

    /// Has its subtasks moved to other TaskManagers, after a checkpoint. Comes back when nothing runs here any more, or
    /// after `patience`, or when there is nothing that could be moved. `run` has to go on meanwhile.
    pub async fn drain(&self, patience: Duration) {
        self.worker.drain();
        let until = Instant::now() + patience;
        while !self.manager.attempts().is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn bind_address(host: Option<&str>) -> Result<IpAddr> {
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
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
