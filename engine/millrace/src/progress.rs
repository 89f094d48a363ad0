//! The live line of a running job.

use std::time::{Duration, Instant};

use millrace_cluster::status::{State, Totals};
use millrace_cluster::{JobHandle, JobStatus};

use crate::terminal;

/// On a terminal the line is drawn over itself; elsewhere a line is written each second.
const REDRAW: Duration = Duration::from_millis(250);
const LINE: Duration = Duration::from_secs(1);

pub struct Progress {
    terminal: bool,
    last: Instant,
    before: Totals,
    attempt: u64,
}

impl Progress {
    pub fn new() -> Self {
        Progress {
            terminal: terminal::is_terminal(),
            last: Instant::now(),
            before: Totals::default(),
            attempt: 0,
        }
    }

    /// Shows how the job does, if it is time to.
    pub fn show(&mut self, job: &JobHandle) {
        let elapsed = self.last.elapsed();
        if elapsed < if self.terminal { REDRAW } else { LINE } {
            return;
        }
        let status = job.status();
        let totals = status.totals();
        if status.attempt != self.attempt {
            // Counters begin anew with every attempt.
            self.attempt = status.attempt;
            self.before = Totals::default();
        }
        let line = line(&status, &totals, &self.before, elapsed);
        self.last = Instant::now();
        self.before = totals;
        match self.terminal {
            true => terminal::draw_line(&line),
            false => terminal::say(&line),
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Created => "created",
        State::Recovering => "recovering",
        State::WaitingForResources => "waiting for resources",
        State::Running => "running",
        State::Stopping => "stopping",
        State::Restarting => "restarting",
        State::Finished => "finished",
        State::Stopped => "stopped",
        State::Cancelling => "cancelling",
        State::Cancelled => "cancelled",
        State::Suspended => "suspended",
        State::Failed => "failed",
    }
}

/// Says how a job ended, and what it has done.
pub fn ended(status: &JobStatus) {
    let totals = status.totals();
    tracing::info!(
        job = %status.name,
        records_in = totals.records_in,
        records_out = totals.records_out,
        skipped = totals.skipped,
        dropped = totals.dropped,
        late = totals.late,
        checkpoint = status.checkpoint.map(|c| c.id.0),
        "{}",
        word(status.state)
    );
}

fn line(status: &JobStatus, totals: &Totals, before: &Totals, elapsed: Duration) -> String {
    let rate = |now: u64, then: u64| {
        let per_second = now.saturating_sub(then) as f64 / elapsed.as_secs_f64().max(1e-3);
        grouped(per_second.round() as u64)
    };
    let state = word(status.state);
    let mut line = format!(
        "{state}  in {}/s  out {}/s  total {} in {} out",
        rate(totals.records_in, before.records_in),
        rate(totals.records_out, before.records_out),
        grouped(totals.records_in),
        grouped(totals.records_out),
    );
    if let Some(lag) = totals.lag {
        line += &format!("  lag {}", grouped(lag));
    }
    if let Some(checkpoint) = status.checkpoint {
        line += &format!(
            "  checkpoint {} ({} ms, {} bytes)",
            checkpoint.id,
            checkpoint.duration.as_millis(),
            grouped(checkpoint.bytes)
        );
    }
    for (count, what) in [
        (status.failed_checkpoints, "checkpoints failed"),
        (u64::from(status.restarts), "restarts"),
        (totals.skipped, "skipped"),
        (totals.dropped, "dropped"),
        (totals.late, "late"),
    ] {
        if count > 0 {
            line += &format!("  {} {what}", grouped(count));
        }
    }
    line
}

/// 1234567 as `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1234567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn the_line_says_rates_lag_and_checkpoint() {
        let graph = millrace_dataflow::JobGraph::empty("j");
        let id = millrace_core::JobId::from_name("j");
        let mut status = JobStatus::new(id, "j", Default::default(), graph.into()).unwrap();
        status.state = State::Running;
        status.checkpoint = Some(millrace_cluster::status::CheckpointStatus {
            id: millrace_core::CheckpointId(4),
            duration: Duration::from_millis(12),
            bytes: 2048,
            written: 1024,
        });
        let totals = Totals {
            records_in: 3000,
            records_out: 1500,
            lag: Some(7),
            ..Default::default()
        };
        let line = line(&status, &totals, &Totals::default(), Duration::from_secs(2));
        assert_eq!(
            line,
            "running  in 1,500/s  out 750/s  total 3,000 in 1,500 out  lag 7  checkpoint 4 (12 ms, 2,048 bytes)"
        );
    }
}
