//! Which subtask makes which rows: a lane is every n-th row from some row on.
//!
//! A fresh start gives each subtask one lane. A restore shares out the lanes of the checkpoint; if
//! they are too few for the new parallelism, each is cut into lanes of wider steps, in the same way
//! by every subtask. So no row is left out and none made twice.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lane {
    /// The row that is made next.
    pub next: u64,
    pub step: u64,
    /// What random values come from.
    pub seed: u64,
}

impl Lane {
    /// Rows below `total` that are left.
    pub fn left(&self, total: Option<u64>) -> u64 {
        let total = total.unwrap_or(u64::MAX);
        if self.next >= total {
            0
        } else {
            (total - self.next - 1) / self.step + 1
        }
    }

    /// Past so many rows.
    pub fn advance(&mut self, rows: u64) {
        self.next = self.next.saturating_add(self.step.saturating_mul(rows));
    }
}

pub fn fresh(seed: u64, subtask: usize, parallelism: usize) -> Vec<Lane> {
    vec![Lane {
        next: subtask as u64,
        step: parallelism as u64,
        seed,
    }]
}

/// The lanes of one subtask out of all lanes of a checkpoint.
pub fn share(mut lanes: Vec<Lane>, subtask: usize, parallelism: usize) -> Vec<Lane> {
    lanes.sort_unstable();
    if !lanes.is_empty() && lanes.len() < parallelism {
        let parts = parallelism.div_ceil(lanes.len()) as u64;
        lanes = lanes
            .iter()
            .flat_map(|lane| {
                (0..parts).map(|part| Lane {
                    next: lane.next.saturating_add(part.saturating_mul(lane.step)),
                    step: lane.step.saturating_mul(parts),
                    seed: lane.seed,
                })
            })
            .collect();
        lanes.sort_unstable();
    }
    lanes
        .into_iter()
        .skip(subtask)
        .step_by(parallelism.max(1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_lost_or_made_twice_when_rescaled() {
        for (from, to) in [(1, 3), (3, 1), (2, 5), (4, 4), (5, 2)] {
            let total = Some(100);
            let mut rows = Vec::new();
            let mut kept = Vec::new();
            for subtask in 0..from {
                for mut lane in fresh(9, subtask, from) {
                    for _ in 0..(subtask * 3).min(lane.left(total) as usize) {
                        rows.push(lane.next);
                        lane.advance(1);
                    }
                    kept.push(lane);
                }
            }
            for subtask in 0..to {
                for mut lane in share(kept.clone(), subtask, to) {
                    while lane.left(total) > 0 {
                        rows.push(lane.next);
                        lane.advance(1);
                    }
                }
            }
            rows.sort_unstable();
            assert_eq!(rows, (0..100).collect::<Vec<_>>(), "{from} to {to}");
        }
    }
}
