//! Figures of checkpoints.

use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::history::{
    CheckpointHistory, CheckpointKind as Kind, CheckpointOutcome, CheckpointRecord, Figures, Restored,
    SubtaskCheckpoint as Acknowledged,
};
use millrace_core::{CheckpointId, Configuration};
use millrace_rest_types::checkpoints::{Checkpoint, CheckpointKind, CheckpointStatus, SubtaskCheckpoint};
use millrace_rest_types::number::Double;

use super::checkpoints;

fn acknowledged(task: usize, at: i64) -> Acknowledged {
    Acknowledged {
        task,
        acknowledged: at,
        state_bytes: 100,
        written_bytes: 40,
    }
}

/// Of a vertex with two subtasks and one with one.
fn record(kind: Kind, outcome: CheckpointOutcome, subtasks: Vec<Acknowledged>) -> CheckpointRecord {
    CheckpointRecord {
        id: CheckpointId(7),
        kind,
        triggered: 1000,
        latest_acknowledgement: 1000,
        subtasks,
        tasks: 3,
        widths: Arc::new([2, 1]),
        duration: Duration::from_millis(90),
        outcome,
        bytes: 310,
        written: 130,
        is_discarded: false,
    }
}

fn completed(path: &str) -> CheckpointOutcome {
    CheckpointOutcome::Completed {
        path: Some(path.to_owned()),
    }
}

fn ids() -> [String; 2] {
    ["a".repeat(32), "b".repeat(32)]
}

#[test]
fn a_complete_checkpoint() {
    let told = vec![
        acknowledged(0, 1020),
        acknowledged(1, 1030),
        acknowledged(2, 1050),
    ];
    let record = record(Kind::Checkpoint, completed("/c/chk-7"), told);
    let Checkpoint::Completed(shown) = checkpoints::checkpoint(&record, &ids(), 5000) else {
        panic!("{record:?}");
    };
    let figures = &shown.figures;
    assert_eq!(
        (figures.status, figures.checkpoint_type),
        (CheckpointStatus::Completed, CheckpointKind::Checkpoint)
    );
    assert_eq!((figures.state_size, figures.checkpointed_size), (310, 130));
    assert_eq!(
        (figures.latest_ack_timestamp, figures.end_to_end_duration),
        (1050, 90)
    );
    assert_eq!((figures.num_subtasks, figures.num_acknowledged_subtasks), (3, 3));
    assert_eq!(
        (shown.external_path.as_str(), shown.discarded),
        ("/c/chk-7", false)
    );
    let first = figures.tasks[&ids()[0]];
    assert_eq!(
        (first.num_subtasks, first.state_size, first.checkpointed_size),
        (2, 200, 80)
    );
    assert_eq!(
        (first.latest_ack_timestamp, first.end_to_end_duration),
        (1030, 30)
    );
    let details = checkpoints::vertex(&record, 0, 5000).unwrap();
    assert_eq!(
        (
            details.summary.end_to_end_duration.min,
            details.summary.end_to_end_duration.max
        ),
        (20, 30)
    );
    assert!(details.summary.state_size.p50.0.is_nan());
    assert_eq!(details.subtasks.len(), 2);
    assert!(checkpoints::vertex(&record, 2, 5000).is_none());
}

#[test]
fn one_that_is_under_way() {
    let record = record(
        Kind::Savepoint,
        CheckpointOutcome::InProgress,
        vec![acknowledged(1, 1030)],
    );
    let Checkpoint::InProgress(figures) = checkpoints::checkpoint(&record, &ids(), 1200) else {
        panic!("{record:?}");
    };
    assert!(figures.is_savepoint);
    assert_eq!((figures.state_size, figures.end_to_end_duration), (100, 200));
    let [first, second] = ids().map(|id| figures.tasks[&id]);
    assert_eq!(
        (first.status, first.num_acknowledged_subtasks),
        (CheckpointStatus::InProgress, 1)
    );
    assert_eq!(
        (second.latest_ack_timestamp, second.end_to_end_duration),
        (-1, 200)
    );
    let details = checkpoints::vertex(&record, 0, 1200).unwrap();
    assert!(matches!(&details.subtasks[0], SubtaskCheckpoint::Pending(pending) if pending.index == 0));
    assert!(
        matches!(&details.subtasks[1], SubtaskCheckpoint::Completed(done) if done.end_to_end_duration == 30)
    );
}

#[test]
fn one_that_failed() {
    let why = "a TaskManager is lost".to_owned();
    let record = record(
        Kind::Checkpoint,
        CheckpointOutcome::Failed { why: why.clone() },
        Vec::new(),
    );
    let Checkpoint::Failed(shown) = checkpoints::checkpoint(&record, &[], 5000) else {
        panic!("{record:?}");
    };
    assert_eq!(
        (shown.failure_timestamp, shown.failure_message),
        (1090, Some(why))
    );
    assert_eq!(
        (
            shown.figures.latest_ack_timestamp,
            shown.figures.end_to_end_duration
        ),
        (-1, 90)
    );
}

#[test]
fn the_newest_one_is_a_checkpoint_also_where_it_became_a_savepoint() {
    let mut history = CheckpointHistory::from_config(&Configuration::default()).unwrap();
    history.latest_completed = Some(Arc::new(record(
        Kind::Savepoint,
        completed("/c/chk-7"),
        Vec::new(),
    )));
    history.latest_savepoint = Some(Arc::new(record(
        Kind::Savepoint,
        completed("/s/savepoint-1"),
        Vec::new(),
    )));
    history.latest_restored = Some(Restored {
        id: CheckpointId(3),
        path: "/s/savepoint-0".to_owned(),
        is_savepoint: true,
        at: 900,
    });
    for (duration, bytes) in [(10, 100), (30, 300)] {
        Arc::make_mut(&mut history.figures).push_back(Figures {
            duration: Duration::from_millis(duration),
            bytes,
            written: 1,
        });
    }
    let shown = checkpoints::all(&history, 5000);
    let path = |checkpoint: &Option<Checkpoint>| match checkpoint {
        Some(Checkpoint::Completed(shown)) => (shown.external_path.clone(), shown.figures.is_savepoint),
        other => panic!("{other:?}"),
    };
    assert_eq!(path(&shown.latest.completed), ("/c/chk-7".to_owned(), false));
    assert_eq!(path(&shown.latest.savepoint), ("/s/savepoint-1".to_owned(), true));
    assert_eq!(shown.latest.restored.unwrap().id, 3);
    let duration = shown.summary.end_to_end_duration;
    assert_eq!(
        (duration.min, duration.max, duration.avg, duration.p50),
        (10, 30, 20, Double(20.0))
    );
    assert_eq!(shown.summary.alignment_buffered.p99, Double(0.0));
}

#[test]
fn a_job_without_periodic_checkpoints() {
    let mut config = Configuration::default();
    assert_eq!(checkpoints::config(&config).unwrap().interval, i64::MAX);
    config.set("execution.checkpointing.interval", "2 s");
    config.set(
        "execution.checkpointing.externalized-checkpoint-retention",
        "RETAIN_ON_CANCELLATION",
    );
    let shown = checkpoints::config(&config).unwrap();
    assert_eq!((shown.interval, shown.externalization.enabled), (2000, true));
}
