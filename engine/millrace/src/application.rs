//! The jobs of a file on a cluster of their own: begun when this JobManager leads, followed until all have ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use millrace_cluster::ha::Storage;
use millrace_cluster::process::{Application, JobManager, Role};
use millrace_cluster::status::State;
use millrace_cluster::{Dispatcher, JobSpec, words};
use millrace_core::{Error, JobId, Result};

use crate::progress;

pub struct FileApplication {
    specs: Vec<JobSpec>,
    state: Mutex<Followed>,
}

#[derive(Default)]
struct Followed {
    /// Jobs that ended before this JobManager led.
    before: BTreeMap<JobId, State>,
    /// What could not be begun.
    refused: Option<Error>,
    begun: bool,
}

/// Why it is no longer followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All of its jobs have ended.
    Application,
    /// This process was told to end; the jobs go on elsewhere, or with the next run.
    Process,
}

impl FileApplication {
    pub fn new(specs: Vec<JobSpec>) -> Self {
        FileApplication {
            specs,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, Followed> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Follows the jobs until all have ended, or a signal comes: the first has them stop with a checkpoint where no
    /// other JobManager goes on with them, and leaves them to that one otherwise.
    pub fn until_ended(&self, manager: &JobManager, signals: &std::sync::mpsc::Receiver<()>) -> Result<End> {
        let has_others = manager.leader().is_some();
        let mut is_told = false;
        loop {
            if signals.recv_timeout(Duration::from_millis(20)).is_ok() {
                if has_others {
                    return Ok(End::Process);
                }
                is_told = true;
                tracing::info!(
                    "stopping with a checkpoint; the next run resumes (once more: at once, without)"
                );
                if let Role::Leader(dispatcher) = &*manager.role().borrow() {
                    for job in &self.specs {
                        if let Some(control) = dispatcher.control(job.id) {
                            control.stop();
                        }
                    }
                }
            }
            let Role::Leader(dispatcher) = manager.role().borrow().clone() else {
                continue;
            };
            let Some(states) = self.ended(&dispatcher)? else {
                continue;
            };
            let statuses = self.specs.iter().filter_map(|spec| dispatcher.job(spec.id));
            statuses.for_each(|status| progress::ended(&status));
            if states.contains(&State::Failed) {
                return Err(self.failure(&dispatcher));
            }
            return Ok(match is_told {
                true => End::Process,
                false => End::Application,
            });
        }
    }

    /// What the first job failed with.
    fn failure(&self, dispatcher: &Dispatcher) -> Error {
        let failed = self.specs.iter().filter_map(|spec| dispatcher.job(spec.id));
        let root = failed
            .filter(|status| status.state == State::Failed)
            .find_map(|status| {
                Some((
                    status.name.clone(),
                    status.exceptions.entries.front()?.root.text.clone(),
                ))
            });
        match root {
            Some((name, text)) => Error::external(format!("the job {name} failed")).with_detail(text),
            None => Error::external("a job of the application has failed before").with_hint(
                "see the log of the JobManager that ran it; give it another --job-id to run it again",
            ),
        }
    }

    /// How the jobs ended, once all have.
    fn ended(&self, dispatcher: &Dispatcher) -> Result<Option<Vec<State>>> {
        let mut state = self.state();
        if let Some(error) = state.refused.take() {
            return Err(error);
        }
        if !state.begun {
            return Ok(None);
        }
        let states = self.specs.iter().map(|spec| match state.before.get(&spec.id) {
            Some(state) => Some(*state),
            None if dispatcher.has(spec.id) => None,
            None => dispatcher.job(spec.id).map(|status| status.state),
        });
        let states: Option<Vec<State>> = states.collect();
        Ok(states.filter(|states| states.iter().all(|state| state.is_terminal())))
    }
}

impl Application for FileApplication {
    fn keeps_results(&self) -> bool {
        true
    }

    fn leads(&self, dispatcher: &Dispatcher, storage: Option<&Storage>) {
        for spec in &self.specs {
            let ended = storage.map_or(Ok(None), |storage| storage.ended(spec.id));
            match ended {
                Ok(Some(result)) => {
                    tracing::info!(job = %spec.id, name = spec.name, state = result.state, "the job has ended already");
                    let state = match result.state.as_str() {
                        "FINISHED" => State::Finished,
                        "CANCELED" => State::Cancelled,
                        _ => State::Failed,
                    };
                    self.state().before.insert(spec.id, state);
                }
                // It was recovered, or is about to be.
                Ok(None) if dispatcher.has(spec.id) => {}
                Ok(None) => {
                    let begun = match storage {
                        // Another JobManager may lead before what is missing is there.
                        Some(_) => dispatcher.submit_in_time(spec.clone()),
                        None => dispatcher.submit(spec.clone()).map(drop),
                    };
                    match begun {
                        Ok(()) => words::submitted(spec.id),
                        Err(error) => self.state().refused = Some(error),
                    }
                }
                Err(error) => self.state().refused = Some(error),
            }
        }
        self.state().begun = true;
    }
}
