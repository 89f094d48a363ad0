//! The thread that runs one subtask in production.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use millrace_connector_api::Waker;
use millrace_core::{Error, Result};

use crate::control::Event;
use crate::metrics::{LongestStep, TaskMetrics};
use crate::subtask::{Progress, Subtask, Waits};

/// Elements of a step; between steps come commands, so this bounds their delay.
const BUDGET: usize = 16;

/// The longest sleep, so that ticks go on without input.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Runs a subtask until it is cancelled or fails; its last report says which.
pub fn run(mut subtask: Subtask, waker: &Waker) {
    subtask.reporter.report(Event::Started);
    // A panic is a bug, and must fail the attempt like any other error instead of hanging it.
    let outcome = catch_unwind(AssertUnwindSafe(|| drive(&mut subtask, waker)));
    let error = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(panic) => Some(panicked(panic.as_ref())),
    };
    // Connectors close before the report: the next attempt must not meet their open files.
    let Subtask {
        reporter,
        links,
        gate,
        ..
    } = subtask;
    drop(links);
    drop(gate);
    reporter.report(Event::Stopped { error });
}

/// What a panic becomes where a thread of the engine ends.
pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Error::internal("a subtask panicked")
        .with_detail(text)
        .with_hint("this is a bug of the engine: please report it")
}

fn drive(subtask: &mut Subtask, waker: &Waker) -> Result<()> {
    let mut longest = LongestStep::default();
    let mut pressed = Pressed::default();
    let mut began = Instant::now();
    loop {
        let progress = subtask.step(BUDGET)?;
        let worked = Instant::now();
        let metrics = subtask.metrics();
        metrics.busy_nanos.add((worked - began).as_nanos() as u64);
        let waited = match progress {
            Progress::Worked => {
                pressed.ends(metrics);
                worked
            }
            Progress::Finished => return Ok(()),
            Progress::Idle => {
                pressed.ends(metrics);
                waker.wait(LONGEST_WAIT);
                let now = Instant::now();
                metrics.idle_nanos.add((now - worked).as_nanos() as u64);
                now
            }
            Progress::BackPressured => {
                let waits = subtask.waits();
                pressed.begins(waits, metrics);
                waker.wait(LONGEST_WAIT);
                let now = Instant::now();
                pressed.waited(waits, (now - worked).as_nanos() as u64, metrics);
                now
            }
        };
        let step = (worked - began).as_nanos() as u64;
        longest.took(step, (waited - began).as_nanos() as u64, &metrics.latency);
        began = waited;
    }
}

/// Waits for room in readers, one after the other as long as there is none.
#[derive(Default)]
struct Pressed {
    /// How long it has lasted.
    nanos: u64,
    is_now: bool,
}

impl Pressed {
    fn begins(&mut self, waits: Waits, metrics: &TaskMetrics) {
        match waits {
            Waits::Output | Waits::OutputWithin => {
                self.is_now = true;
                metrics.back_pressure.is_now.set(1);
            }
            Waits::Nothing | Waits::Sink => self.ends(metrics),
        }
    }

    fn waited(&mut self, waits: Waits, nanos: u64, metrics: &TaskMetrics) {
        match waits {
            Waits::Output | Waits::OutputWithin => {
                self.nanos += nanos;
                let is_hard = waits == Waits::OutputWithin;
                metrics.back_pressure.waited(is_hard, nanos, self.nanos);
            }
            // As in Flink, where a sink holds its task until the outside has taken a record: what is slow is the
            // task with the sink, not who reads from it.
            Waits::Nothing | Waits::Sink => metrics.busy_nanos.add(nanos),
        }
    }

    fn ends(&mut self, metrics: &TaskMetrics) {
        if std::mem::take(&mut self.is_now) {
            self.nanos = 0;
            metrics.back_pressure.is_now.set(0);
        }
    }
}
