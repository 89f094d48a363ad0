//! A writer that ends at any step of its life, and the attempt that comes after it.

use std::task::Poll;

use millrace_connector_api::sink::SinkWriter;
use millrace_core::CheckpointId;
use millrace_dataflow::TableSpec;

use crate::sink::{batch, columns, hidden, ids};
use crate::support::*;

const BATCHES: i64 = 4;
const BATCH: i64 = 10;

/// What the job's head says: the newest complete checkpoint.
#[derive(Default)]
struct Head {
    state: Vec<u8>,
    rows: i64,
    finished: bool,
}

/// Steps that are left until the crash.
struct Steps(usize);

impl Steps {
    /// Whether the next step is still done.
    fn take(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }
}

/// Runs an attempt from the head's checkpoint; `None` where it crashed.
fn attempt(table: &TableSpec, number: u64, head: &mut Head, steps: &mut Steps) -> Option<()> {
    let mut writer = writer(table, 0, number);
    let mut next = head.rows;
    let mut checkpoint = number * 100;
    loop {
        for _ in 0..2 {
            if next < BATCHES * BATCH {
                steps.take().then_some(())?;
                write(writer.as_mut(), batch(next..next + BATCH));
                next += BATCH;
            }
        }
        let last = next == BATCHES * BATCH;
        checkpoint += 1;
        take_checkpoint(writer.as_mut(), checkpoint, last, steps, head, next)?;
        if last {
            return Some(());
        }
    }
}

fn take_checkpoint(
    writer: &mut dyn SinkWriter,
    number: u64,
    last: bool,
    steps: &mut Steps,
    head: &mut Head,
    rows: i64,
) -> Option<()> {
    let id = CheckpointId(number);
    steps.take().then_some(())?;
    if last {
        writer.begin_last_checkpoint(id).unwrap();
    } else {
        writer.begin_checkpoint(id).unwrap();
    }
    let state = loop {
        steps.take().then_some(())?;
        if let Poll::Ready(state) = writer.poll_checkpoint().unwrap() {
            break state;
        }
    };
    // The head is swapped.
    steps.take().then_some(())?;
    *head = Head {
        state,
        rows,
        finished: last,
    };
    steps.take().then_some(())?;
    writer.checkpoint_complete(id).unwrap();
    loop {
        steps.take().then_some(())?;
        if writer.poll_commits().unwrap().is_ready() {
            return Some(());
        }
    }
}

/// An attempt that crashes after each number of steps, and the next after another number.
fn crash_everywhere(format: &str, options: &[(&str, &str)], partitioned: bool) {
    for second in [0, 5, usize::MAX] {
        let mut first = 0;
        loop {
            let folder = tempfile::tempdir().unwrap();
            let mut table = table(folder.path(), format, columns(), options);
            if partitioned {
                table.partition_keys = vec!["name".to_owned()];
            }
            let mut head = Head::default();
            let mut crashed = false;
            for (number, steps) in (1..).zip([first, second, usize::MAX]) {
                if attempt(&table, number, &mut head, &mut Steps(steps)).is_some() {
                    break;
                }
                crashed |= number == 1;
                // Rows of the complete checkpoint are visible after a recovery, which may crash too.
                for _ in 0..2 {
                    let recovery = Recovery {
                        restored: vec![head.state.clone()],
                        newest: None,
                        committed: false,
                        attempts: (1..=number).collect(),
                    };
                    recover(&table, recovery).unwrap();
                    let expected: Vec<_> = (0..head.rows).collect();
                    assert_eq!(ids(&table), expected, "{format}: {first} and {second} steps");
                    assert_eq!(hidden(folder.path()), 0);
                }
                if head.finished {
                    break;
                }
            }
            let all: Vec<_> = (0..BATCHES * BATCH).collect();
            assert_eq!(ids(&table), all, "{format}: {first} and {second} steps");
            if !crashed {
                break;
            }
            first += 1;
        }
    }
}

#[test]
fn lines() {
    crash_everywhere("json", &[], false);
}

#[test]
fn lines_of_some_size_in_partitions() {
    crash_everywhere("json", &[("sink.rolling-policy.file-size", "200")], true);
}

/// CSV and Parquet: files that each checkpoint closes.
#[test]
fn whole_files_in_partitions() {
    crash_everywhere("csv", &[], true);
}
