//! Keyed state that goes from one parallelism to another and back, each time by a kill.

use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_testkit::kafka::Kafka;

use crate::job::{RunOptions, Shape};
use crate::workbench::{Line, Summary, Workbench};

const LIMIT: Duration = Duration::from_secs(60);

/// Groups are divided, put together, and cut elsewhere: by each kind of change what a subtask should
/// not have any more, or has not got, would come back at a later one.
const PARALLELISMS: [usize; 9] = [1, 3, 1, 2, 4, 2, 3, 4, 1];

pub fn rescaled(kafka: &Kafka) -> Result<Summary> {
    let mut bench = Workbench::of(kafka, Line::Plain, Shape::Keyed, "rescaled", 1000)?;
    for parallelism in PARALLELISMS {
        let mut run = bench.start(&RunOptions::parallel(parallelism))?;
        // Twice: what is restored is what was worked on.
        for _ in 0..2 {
            bench.wait_for_progress(&mut run, LIMIT)?;
        }
        bench.killed(&run.kill()?);
    }
    let run = bench.start(&RunOptions::parallel(3))?;
    bench.finish(kafka, run)?;
    ensure!(
        bench.summary.rescaled as usize >= PARALLELISMS.len() - 1,
        "{} restores at another parallelism: the test has lost its meaning",
        bench.summary.rescaled
    );
    Ok(bench.summary)
}
