//! The slots of all TaskManagers, and which attempts have them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::gateway::{Slots, TaskManagerGateway};

/// What a TaskManager says of itself when it registers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capacity {
    /// The machine's name.
    pub host: String,
    pub slots: usize,
    /// Bytes for keyed state, of all slots.
    pub managed_memory: u64,
    /// Bytes of the whole process.
    pub process_memory: u64,
    pub cpu_cores: f64,
    /// Bytes of the machine.
    pub physical_memory: u64,
}

/// A TaskManager as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskManagerInfo {
    pub id: String,
    pub data_address: Option<String>,
    pub capacity: Capacity,
    pub free_slots: usize,
    /// It ends as soon as nothing runs there.
    pub is_draining: bool,
    /// When it registered, in milliseconds since 1970.
    pub since: i64,
    /// The same of when it was last heard of.
    pub last_heartbeat: i64,
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct ResourceManager(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By id; those that are there longer come first where slots are given.
    task_managers: BTreeMap<String, Registered>,
    listeners: BTreeMap<u64, Listener>,
    next_listener: u64,
}

type Listener = Arc<dyn Fn() + Send + Sync>;

struct Registered {
    gateway: Arc<dyn TaskManagerGateway>,
    info: TaskManagerInfo,
}

/// Too few slots are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    pub free: usize,
    /// Free ones and others.
    pub all: usize,
    pub task_managers: usize,
}

/// Told of changes as long as it is there.
pub struct Subscription {
    resources: ResourceManager,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.resources.state().listeners.remove(&self.number);
    }
}

impl ResourceManager {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Changes something, and tells who listens: without the lock, for they may ask at once.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let outcome = change(&mut state);
        let listeners: Vec<Listener> = state.listeners.values().cloned().collect();
        drop(state);
        listeners.iter().for_each(|listener| listener());
        outcome
    }

    pub fn register(&self, gateway: Arc<dyn TaskManagerGateway>, capacity: Capacity, now_millis: i64) {
        let info = TaskManagerInfo {
            id: gateway.id().to_owned(),
            data_address: gateway.data_address().map(str::to_owned),
            free_slots: capacity.slots,
            capacity,
            is_draining: false,
            last_heartbeat: now_millis,
            since: now_millis,
        };
        self.change(|state| {
            state
                .task_managers
                .insert(info.id.clone(), Registered { gateway, info })
        });
    }

    /// It is gone, and its slots with it.
    pub fn remove(&self, id: &str) {
        self.change(|state| state.task_managers.remove(id));
    }

    /// No slot of it is given any more.
    pub fn drain(&self, id: &str) {
        self.change(|state| {
            if let Some(registered) = state.task_managers.get_mut(id) {
                registered.info.is_draining = true;
            }
        });
    }

    /// Whether it is to end.
    pub fn is_draining(&self, id: &str) -> bool {
        self.state()
            .task_managers
            .get(id)
            .is_some_and(|r| r.info.is_draining)
    }

    /// So many slots of any TaskManagers: of as few as possible, those with the most free ones first.
    pub fn acquire(&self, wanted: usize) -> Result<Vec<Slots>, Shortage> {
        let mut state = self.state();
        let shortage = state.shortage();
        if shortage.free < wanted {
            return Err(shortage);
        }
        let mut open: Vec<&mut Registered> = state
            .task_managers
            .values_mut()
            .filter(|r| !r.info.is_draining && r.info.free_slots > 0)
            .collect();
        open.sort_by_key(|r| (std::cmp::Reverse(r.info.free_slots), r.info.since));
        let mut missing = wanted;
        let mut slots = Vec::new();
        for registered in open {
            let count = registered.info.free_slots.min(missing);
            if count == 0 {
                break;
            }
            registered.info.free_slots -= count;
            missing -= count;
            slots.push(Slots {
                gateway: registered.gateway.clone(),
                count,
            });
        }
        Ok(slots)
    }

    /// Gives slots back. Those of a TaskManager that is gone, or has come again, are not there.
    pub fn release(&self, slots: &[Slots]) {
        self.change(|state| {
            for Slots { gateway, count } in slots {
                if let Some(registered) = state.task_managers.get_mut(gateway.id())
                    && Arc::ptr_eq(&registered.gateway, gateway)
                {
                    let info = &mut registered.info;
                    info.free_slots = (info.free_slots + count).min(info.capacity.slots);
                }
            }
        });
    }

    /// How many there are.
    pub fn slots(&self) -> Shortage {
        self.state().shortage()
    }

    pub fn task_managers(&self) -> Vec<TaskManagerInfo> {
        self.state()
            .task_managers
            .values()
            .map(|registered| TaskManagerInfo {
                last_heartbeat: registered.gateway.last_heard(),
                ..registered.info.clone()
            })
            .collect()
    }

    pub fn gateway(&self, id: &str) -> Option<Arc<dyn TaskManagerGateway>> {
        self.state()
            .task_managers
            .get(id)
            .map(|registered| registered.gateway.clone())
    }

    /// Calls this at every change. It must not block.
    pub fn subscribe(&self, listener: impl Fn() + Send + Sync + 'static) -> Subscription {
        let mut state = self.state();
        let number = state.next_listener;
        state.next_listener += 1;
        state.listeners.insert(number, Arc::new(listener));
        drop(state);
        Subscription {
            resources: self.clone(),
            number,
        }
    }
}

impl State {
    fn shortage(&self) -> Shortage {
        let infos = || self.task_managers.values().map(|registered| &registered.info);
        Shortage {
            free: infos()
                .filter(|info| !info.is_draining)
                .map(|info| info.free_slots)
                .sum(),
            all: infos().map(|info| info.capacity.slots).sum(),
            task_managers: self.task_managers.len(),
        }
    }
}
