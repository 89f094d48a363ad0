//! Who leads: a model of what ZooKeeper and Kubernetes are to JobManagers, a lease that is renewed.
//!
//! It is the engine's case that this may be wrong: two may take themselves for the leader, for as long as one of them is
//! frozen, cut off, or told late.

use std::sync::{Mutex, MutexGuard};

use crate::kernel::{self, Host, Process, SECOND, Time};
use crate::world::{ELECTION, Role, host_of};

/// Who is not heard of for so long leads no more.
const LEASE: Time = 3 * SECOND;

pub struct Election(Mutex<State>);

#[derive(Default)]
struct State {
    leader: Option<(usize, Process)>,
    until: Time,
    address: Option<String>,
    /// Who leads no more and is told that it does, and until when.
    deceived: Option<(Process, Time)>,
}

impl Election {
    pub fn new() -> Election {
        Election(Mutex::default())
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let lock = || -> MutexGuard<'_, State> { self.0.lock().unwrap_or_else(|e| e.into_inner()) };
        kernel::steadily(|| work(&mut lock()))
    }

    fn is_reached_from(host: Host) -> bool {
        host.reaches(ELECTION)
    }

    /// Whether this JobManager's present process leads, now that it asks. None: it cannot be asked.
    pub fn lead(&self, job_manager: usize) -> Option<bool> {
        if !Self::is_reached_from(host_of(Role::JobManager(job_manager))) {
            return None;
        }
        let me = Process::current()?;
        let now = kernel::now();
        Some(self.with(|state| {
            if let Some((deceived, until)) = state.deceived
                && deceived == me
            {
                return now < until;
            }
            if state.leader.is_none() || now > state.until {
                state.leader = Some((job_manager, me));
                state.address = None;
            }
            let leads = state.leader == Some((job_manager, me));
            if leads {
                state.until = now + LEASE;
            }
            leads
        }))
    }

    /// Tells where the leader is reached.
    pub fn announce(&self, job_manager: usize, address: String) {
        let me = Process::current();
        self.with(|state| {
            if state.leader.map(|(index, process)| (index, Some(process))) == Some((job_manager, me)) {
                state.address = Some(address);
            }
        });
    }

    /// Where a TaskManager is told that the leader is. None: it hears nothing new.
    pub fn address(&self, task_manager: usize) -> Option<Option<String>> {
        let host = host_of(Role::TaskManager(task_manager));
        Self::is_reached_from(host).then(|| self.with(|state| state.address.clone()))
    }

    pub fn leader(&self) -> Option<usize> {
        self.with(|state| state.leader.map(|(index, _)| index))
    }

    /// The leader leads no more; it is told so only after this time.
    pub fn depose(&self, time: Time) {
        let until = kernel::now() + time;
        self.with(|state| {
            if let Some((_, process)) = state.leader.take() {
                state.deceived = Some((process, until));
            }
        });
    }
}

impl Default for Election {
    fn default() -> Self {
        Election::new()
    }
}
