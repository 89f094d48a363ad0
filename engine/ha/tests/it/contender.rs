//! JobManagers as far as elections go: each with threads and connections of its own, so that it can die alone.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use millrace_core::ids::JobId;
use millrace_core::{Configuration, ErrorKind};
use millrace_ha::{Addresses, Election, HaServices, LeaderInfo, Leadership, Leading};
use millrace_testkit::wait;
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub const LIMIT: Duration = Duration::from_secs(60);

/// A process that uses HA services.
pub struct Process {
    pub ha: HaServices,
    runtime: Option<Runtime>,
}

impl Process {
    pub fn start(config: &Configuration) -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let ha = HaServices::open(config, runtime.handle()).unwrap().unwrap();
        Process {
            ha,
            runtime: Some(runtime),
        }
    }

    pub fn run<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(task)
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.as_ref().unwrap().spawn(task);
    }

    /// Waits until the leader is what is asked for.
    pub fn wait_leader<T>(&self, what: &str, answer: impl Fn(Option<&LeaderInfo>) -> Option<T>) -> T {
        let leader = self.ha.leader();
        wait::until(what, LIMIT, || Ok(answer(leader.borrow().as_ref()))).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its connections are gone, and it has said nothing.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A process that contends.
pub struct Contender {
    pub process: Process,
    pub addresses: Addresses,
    pub leading: watch::Receiver<Leading>,
    election: Option<Election>,
}

/// The contenders of one cluster, and whether two of them ever led at once.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    alive: Vec<(String, watch::Receiver<Leading>)>,
    grants: Vec<uuid::Uuid>,
    violations: Vec<String>,
}

impl Contender {
    pub fn start(config: &Configuration, name: &str, record: &Record) -> Contender {
        let process = Process::start(config);
        let addresses = Addresses {
            control: format!("{name}:6123"),
            rest: format!("http://{name}:8081"),
        };
        let election = process.ha.elect(addresses.clone());
        let leading = election.leading();
        record.join(name, leading.clone());
        let (record, mut seen, name) = (record.clone(), leading.clone(), name.to_owned());
        process.spawn(async move {
            loop {
                let session = seen.borrow_and_update().leadership().map(Leadership::session);
                if let Some(session) = session {
                    record.granted(&name, session);
                }
                if seen.changed().await.is_err() {
                    return;
                }
            }
        });
        Contender {
            process,
            addresses,
            leading,
            election: Some(election),
        }
    }

    pub fn leadership(&self) -> Option<Leadership> {
        self.leading.borrow().leadership().cloned()
    }

    pub fn wait_leading(&self) -> Leadership {
        wait::until(&format!("{} leads", self.addresses.control), LIMIT, || {
            Ok(self.leadership())
        })
        .unwrap()
    }

    pub fn wait_not_leading(&self) {
        let what = format!("{} does not lead", self.addresses.control);
        wait::until(&what, LIMIT, || Ok(self.leadership().is_none().then_some(()))).unwrap();
    }

    /// Writes a job's entry with whatever grant it has, or gets meanwhile.
    pub fn write(&self, job: JobId, entry: &str) {
        let write = || {
            let Some(leadership) = self.leadership() else {
                return Ok(None);
            };
            let written = self.process.run(leadership.put_job(job, entry.as_bytes()));
            match written {
                Err(e) if e.kind() == ErrorKind::Fenced => Ok(None),
                other => Ok(other.map(Some)?),
            }
        };
        wait::until(&format!("{} writes", self.addresses.control), LIMIT, write).unwrap();
    }

    /// Gives up; the process goes on.
    pub fn close(&mut self) {
        let election = self.election.take().unwrap();
        self.process.run(election.close());
    }

    pub fn close_and_clean_up(&mut self) {
        let election = self.election.take().unwrap();
        self.process.run(election.close_and_clean_up());
    }

    /// Forgets about it without waiting for anything.
    pub fn drop_election(&mut self) {
        self.election.take();
    }

    /// As `kill -9`: connections end, nothing is said.
    pub fn kill(self, record: &Record) {
        record.leave(&self.addresses.control);
        // What its tasks hold must not say goodbye.
        let Contender {
            process, election, ..
        } = self;
        drop(process);
        drop(election);
    }
}

impl Record {
    fn join(&self, name: &str, leading: watch::Receiver<Leading>) {
        let mut entries = self.0.lock().unwrap();
        entries.alive.push((name.to_owned(), leading));
    }

    fn leave(&self, control: &str) {
        let mut entries = self.0.lock().unwrap();
        entries
            .alive
            .retain(|(name, _)| !control.starts_with(&format!("{name}:")));
    }

    /// Whoever is granted the leadership is the only one to have it by then.
    fn granted(&self, name: &str, session: uuid::Uuid) {
        let mut entries = self.0.lock().unwrap();
        let others: Vec<String> = entries
            .alive
            .iter()
            .filter(|(other, leading)| other != name && leading.borrow().leadership().is_some())
            .map(|(other, _)| format!("{name} leads while {other} does"))
            .collect();
        entries.violations.extend(others);
        entries.grants.push(session);
    }

    /// Checks that nobody led while another did, and that no two grants had one id. Gives the grants.
    pub fn check(&self) -> Vec<uuid::Uuid> {
        let entries = self.0.lock().unwrap();
        assert_eq!(entries.violations, Vec::<String>::new());
        let mut distinct = entries.grants.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), entries.grants.len(), "{:?}", entries.grants);
        entries.grants.clone()
    }
}

/// Waits until one of the contenders leads, and gives which.
pub fn wait_one(contenders: &[Contender]) -> usize {
    let ask = || -> Result<Option<usize>> { Ok(contenders.iter().position(|c| c.leadership().is_some())) };
    wait::until("one contender leads", LIMIT, ask).unwrap()
}
