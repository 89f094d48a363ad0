//! The thread that runs one subtask in production.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use millrace_connector_api::Waker;
use millrace_core::{Error, Result};

use crate::control::Event;
use crate::subtask::{Progress, Subtask};

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
    loop {
        let begin = Instant::now();
        let progress = subtask.step(BUDGET)?;
        let worked = Instant::now();
        let metrics = subtask.metrics();
        metrics.busy_nanos.add((worked - begin).as_nanos() as u64);
        match progress {
            Progress::Worked => {}
            Progress::Finished => return Ok(()),
            Progress::Idle => {
                waker.wait(LONGEST_WAIT);
                metrics.idle_nanos.add(worked.elapsed().as_nanos() as u64);
            }
            Progress::BackPressured => {
                waker.wait(LONGEST_WAIT);
                metrics
                    .back_pressured_nanos
                    .add(worked.elapsed().as_nanos() as u64);
            }
        }
    }
}
