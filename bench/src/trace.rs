//! Following a run: what is in the output, and what the processes have used, ten times a second.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::client::Offsets;
use crate::stats::Sample;
use crate::usage::Watch;

const EACH: Duration = Duration::from_millis(100);
/// No run of a benchmark takes as long.
const LIMIT: Duration = Duration::from_secs(1800);

/// A run from its start to its end.
#[derive(Debug)]
pub struct Trace {
    pub samples: Vec<Sample>,
    pub peak_bytes: u64,
    /// From the first look to the end.
    pub seconds: f64,
}

/// Looks until `ended`, which is given the records in the output so far.
pub fn follow(
    output: &Offsets,
    watch: &mut Watch,
    mut ended: impl FnMut(u64) -> Result<bool>,
) -> Result<Trace> {
    let start = Instant::now();
    let mut samples = Vec::new();
    loop {
        let asked = start.elapsed();
        let records = output
            .ends()?
            .iter()
            .map(|end| u64::try_from(*end).unwrap_or(0))
            .sum();
        let answered = start.elapsed();
        let usage = watch.usage();
        // The broker looked at some moment between question and answer.
        let seconds = (asked + answered).as_secs_f64() / 2.0;
        samples.push(Sample {
            seconds,
            records,
            cpu_seconds: usage.cpu_seconds,
        });
        if ended(records)? {
            return Ok(Trace {
                samples,
                peak_bytes: usage.peak_bytes,
                seconds: start.elapsed().as_secs_f64(),
            });
        }
        if answered > LIMIT {
            bail!(
                "the run has not ended after {} s; {records} records are in the output",
                LIMIT.as_secs()
            );
        }
        std::thread::sleep(EACH.saturating_sub(start.elapsed() - asked));
    }
}
