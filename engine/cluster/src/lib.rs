//! Who runs jobs: the JobMaster of each job with its checkpoint coordinator, and the TaskManager
//! that runs subtasks. Today both live in one process and talk by values over channels.
//!
//! It takes a registry of connectors and never names one; it never links SQL.
//!
//! Invariants:
//! - The JobMaster is one event loop that owns its state. What blocks (checkpoint stores, recovery,
//!   opening) happens on other threads or between attempts.
//! - An attempt begins with the epoch raised in the head, then the recovery of every sink, then
//!   subtasks. The attempt's sinks are on record before one of them is opened.
//! - Sinks hear of a checkpoint's completion after the head swap and not before.
//! - Of two attempts of a process, the older one's threads are gone before the newer one begins.
//!
//! Layout: `job` what is submitted and the handle to it, `job_master` attempts and the event loop,
//! `attempt` one attempt's event loop, `checkpoint` a checkpoint in progress, `recovery` from the
//! head to restored state and recovered sinks, `store_worker` the thread that completes
//! checkpoints, `task_manager` subtasks and the channels between them, `restart` strategies,
//! `status` what a person is shown, `inspection` a process's log and threads, `wire` what JobMaster and subtasks say as
//! bytes, `compatibility` what becomes of a checkpoint's state in a job, `metrics` what all of them show of themselves,
//! `logs` this process's log, `words` its lines that are Flink's,
//! `twins` operators that keep what one of the checkpoint has kept.

mod attempt;
mod checkpoint;
pub mod compatibility;
mod control;
pub mod dispatcher;
pub mod exchange;
mod gateway;
pub mod ha;
pub mod history;
pub mod inspection;
pub mod job;
mod job_master;
pub mod logs;
pub mod metrics;
mod parallelism;
pub mod pointer;
pub mod process;
mod recovery;
pub mod resources;
mod restart;
pub mod rpc;
mod saving;
pub mod status;
mod store_worker;
mod task_manager;
mod twins;
mod wire;
mod wishes;
pub mod words;

pub use dispatcher::Dispatcher;
pub use gateway::{SlotSource, Slots, TaskManagerGateway};
pub use job::{
    ClaimMode, Discard, JobControl, JobHandle, JobSpec, Outcome, Restore, Start, submit, submit_to,
    submit_with,
};
pub use millrace_ha::LeaderInfo;
pub use status::JobStatus;
pub use task_manager::{TaskManager, state_folder};

/// Bytes of stack for the threads that compile, evaluate and copy expressions, which are trees
/// walked by recursion: the binder and the planner let them grow to some hundred levels. Only what
/// is used of it is taken from the machine.
const STACK: usize = 16 << 20;
