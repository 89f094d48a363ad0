//! Checkpoints and savepoints.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_cluster::history::{
    CheckpointHistory, CheckpointKind as Kind, CheckpointOutcome, CheckpointRecord, Figures,
    SubtaskCheckpoint as Acknowledged,
};
use millrace_core::{Configuration, Result, options};
use millrace_rest_types::checkpoints::{
    Alignment, AlignmentSummary, Checkpoint, CheckpointConfig, CheckpointDuration, CheckpointFigures,
    CheckpointKind, CheckpointStatus, Checkpoints, CompletedCheckpoint, CompletedSubtask, Counts,
    DurationSummary, Externalization, FailedCheckpoint, Latest, PendingSubtask, ProcessingMode, Restored,
    SubtaskCheckpoint, SubtaskSummary, Summary, VertexCheckpoint, VertexCheckpointDetails,
};

use crate::statistics::{self, Values};

/// What a job without periodic checkpoints has for an interval.
const NEVER: i64 = i64::MAX;

pub fn all(history: &CheckpointHistory, now: i64) -> Checkpoints {
    let shown = |record: &std::sync::Arc<CheckpointRecord>| checkpoint(record, &[], now);
    Checkpoints {
        counts: Counts {
            restored: history.restored,
            total: history.triggered,
            in_progress: history.in_progress() as u64,
            completed: history.completed,
            failed: history.failed,
        },
        summary: summary(history),
        latest: Latest {
            completed: history
                .latest_completed
                .as_ref()
                .map(|record| as_checkpoint(record, now)),
            savepoint: history.latest_savepoint.as_ref().map(shown),
            failed: history.latest_failed.as_ref().map(shown),
            restored: history.latest_restored.as_ref().map(|restored| Restored {
                id: restored.id.0,
                restore_timestamp: restored.at,
                is_savepoint: restored.is_savepoint,
                external_path: Some(restored.path.clone()),
            }),
        },
        history: history.recent.iter().rev().map(shown).collect(),
    }
}

fn summary(history: &CheckpointHistory) -> Summary {
    let of = |figure: fn(&Figures) -> u64| {
        let values: Values = history
            .figures
            .iter()
            .map(|figures| figure(figures) as i64)
            .collect();
        values.summary()
    };
    Summary {
        checkpointed_size: of(|figures| figures.written),
        state_size: of(|figures| figures.bytes),
        end_to_end_duration: of(|figures| figures.duration.as_millis() as u64),
        alignment_buffered: statistics::nothing(),
        processed_data: of(|_| 0),
        persisted_data: of(|_| 0),
    }
}

fn is_savepoint(kind: Kind) -> bool {
    matches!(kind, Kind::Savepoint | Kind::StopWithSavepoint { .. })
}

/// The newest complete checkpoint as what a restart begins from, also where it was taken for a savepoint, which is a
/// copy of it.
fn as_checkpoint(record: &CheckpointRecord, now: i64) -> Checkpoint {
    let plain = CheckpointRecord {
        kind: Kind::Checkpoint,
        ..record.clone()
    };
    checkpoint(&plain, &[], now)
}

/// With figures of the vertices that are named.
pub fn checkpoint(record: &CheckpointRecord, vertices: &[String], now: i64) -> Checkpoint {
    let is_complete = matches!(record.outcome, CheckpointOutcome::Completed { .. });
    let told = |of: fn(&Acknowledged) -> u64| record.subtasks.iter().map(of).sum::<u64>();
    let figures = CheckpointFigures {
        id: record.id.0,
        status: status(&record.outcome),
        is_savepoint: is_savepoint(record.kind),
        savepoint_format: is_savepoint(record.kind).then(|| "CANONICAL".to_owned()),
        trigger_timestamp: record.triggered,
        latest_ack_timestamp: latest(&record.subtasks),
        checkpointed_size: if is_complete {
            record.written
        } else {
            told(|s| s.written_bytes)
        },
        state_size: if is_complete {
            record.bytes
        } else {
            told(|s| s.state_bytes)
        },
        end_to_end_duration: match record.outcome {
            CheckpointOutcome::InProgress => now - record.triggered,
            _ => record.duration.as_millis() as i64,
        },
        alignment_buffered: 0,
        processed_data: 0,
        persisted_data: 0,
        num_subtasks: record.tasks,
        num_acknowledged_subtasks: record.subtasks.len(),
        checkpoint_type: match record.kind {
            Kind::Checkpoint | Kind::Last => CheckpointKind::Checkpoint,
            Kind::Savepoint => CheckpointKind::Savepoint,
            Kind::StopWithSavepoint { .. } => CheckpointKind::SyncSavepoint,
        },
        tasks: by_vertex(record, vertices, now),
    };
    match &record.outcome {
        CheckpointOutcome::InProgress => Checkpoint::InProgress(figures),
        CheckpointOutcome::Completed { path } => Checkpoint::Completed(CompletedCheckpoint {
            figures,
            external_path: path.clone().unwrap_or_default(),
            discarded: record.is_discarded,
        }),
        CheckpointOutcome::Failed { why } => Checkpoint::Failed(FailedCheckpoint {
            failure_timestamp: record.triggered + record.duration.as_millis() as i64,
            failure_message: Some(why.clone()),
            figures,
        }),
    }
}

fn status(outcome: &CheckpointOutcome) -> CheckpointStatus {
    match outcome {
        CheckpointOutcome::InProgress => CheckpointStatus::InProgress,
        CheckpointOutcome::Completed { .. } => CheckpointStatus::Completed,
        CheckpointOutcome::Failed { .. } => CheckpointStatus::Failed,
    }
}

/// -1 where nobody has acknowledged.
fn latest<'a>(subtasks: impl IntoIterator<Item = &'a Acknowledged>) -> i64 {
    let times = subtasks.into_iter().map(|subtask| subtask.acknowledged);
    times.max().unwrap_or(-1)
}

fn by_vertex(record: &CheckpointRecord, vertices: &[String], now: i64) -> BTreeMap<String, VertexCheckpoint> {
    let all = vertices.iter().enumerate().take(record.widths.len());
    all.map(|(place, id)| (id.clone(), at_vertex(record, place, now)))
        .collect()
}

/// Its subtasks, by their place in the job and in the vertex.
fn subtasks(record: &CheckpointRecord, vertex: usize) -> impl Iterator<Item = Option<&Acknowledged>> {
    let first: usize = record.widths[..vertex].iter().sum();
    let all = first..first + record.widths[vertex];
    all.map(|task| record.subtasks.iter().find(|subtask| subtask.task == task))
}

fn at_vertex(record: &CheckpointRecord, vertex: usize, now: i64) -> VertexCheckpoint {
    let told: Vec<&Acknowledged> = subtasks(record, vertex).flatten().collect();
    let width = record.widths[vertex];
    let latest = latest(told.iter().copied());
    let is_told = told.len() == width;
    VertexCheckpoint {
        id: record.id.0,
        status: match status(&record.outcome) {
            _ if is_told => CheckpointStatus::Completed,
            // A finished vertex is not asked.
            CheckpointStatus::Completed => CheckpointStatus::Completed,
            status => status,
        },
        latest_ack_timestamp: latest,
        checkpointed_size: told.iter().map(|s| s.written_bytes).sum(),
        state_size: told.iter().map(|s| s.state_bytes).sum(),
        end_to_end_duration: match (is_told, &record.outcome) {
            (false, CheckpointOutcome::InProgress) => now - record.triggered,
            _ => (latest - record.triggered).max(0),
        },
        alignment_buffered: 0,
        processed_data: 0,
        persisted_data: 0,
        num_subtasks: width,
        num_acknowledged_subtasks: told.len(),
    }
}

/// None: it has no such vertex.
pub fn vertex(record: &CheckpointRecord, vertex: usize, now: i64) -> Option<VertexCheckpointDetails> {
    (vertex < record.widths.len()).then(|| {
        let all: Vec<Option<&Acknowledged>> = subtasks(record, vertex).collect();
        let of = |figure: &dyn Fn(&Acknowledged) -> i64| {
            let values: Values = all.iter().flatten().map(|subtask| figure(subtask)).collect();
            values.summary_without_quantiles()
        };
        let none = of(&|_| 0);
        VertexCheckpointDetails {
            figures: at_vertex(record, vertex, now),
            summary: SubtaskSummary {
                checkpointed_size: of(&|s| s.written_bytes as i64),
                state_size: of(&|s| s.state_bytes as i64),
                end_to_end_duration: of(&|s| s.acknowledged - record.triggered),
                checkpoint_duration: DurationSummary {
                    sync: none,
                    asynchronous: none,
                },
                alignment: AlignmentSummary {
                    buffered: statistics::nothing(),
                    processed: none,
                    persisted: none,
                    duration: none,
                },
                start_delay: none,
            },
            subtasks: all
                .iter()
                .enumerate()
                .map(|(index, told)| subtask(record, index, *told))
                .collect(),
        }
    })
}

fn subtask(record: &CheckpointRecord, index: usize, told: Option<&Acknowledged>) -> SubtaskCheckpoint {
    match told {
        None => SubtaskCheckpoint::Pending(PendingSubtask {
            index,
            status: "pending_or_failed".to_owned(),
        }),
        Some(told) => SubtaskCheckpoint::Completed(CompletedSubtask {
            index,
            status: "completed".to_owned(),
            ack_timestamp: told.acknowledged,
            end_to_end_duration: told.acknowledged - record.triggered,
            checkpointed_size: told.written_bytes,
            state_size: told.state_bytes,
            checkpoint: CheckpointDuration {
                sync: 0,
                asynchronous: 0,
            },
            alignment: Alignment {
                buffered: 0,
                processed: 0,
                persisted: 0,
                duration: 0,
            },
            start_delay: 0,
            unaligned_checkpoint: false,
            aborted: false,
        }),
    }
}

pub fn config(config: &Configuration) -> Result<CheckpointConfig> {
    let millis = |duration: Duration| duration.as_millis() as i64;
    let retention = config.get(&options::EXTERNALIZED_CHECKPOINTS)?;
    let is_retained = retention.eq_ignore_ascii_case("RETAIN_ON_CANCELLATION");
    Ok(CheckpointConfig {
        mode: ProcessingMode::ExactlyOnce,
        interval: config
            .get_optional(&options::CHECKPOINT_INTERVAL)?
            .map_or(NEVER, millis),
        timeout: millis(config.get(&options::CHECKPOINT_TIMEOUT)?),
        min_pause: millis(config.get(&options::CHECKPOINT_MIN_PAUSE)?),
        max_concurrent: 1,
        externalization: Externalization {
            enabled: is_retained,
            delete_on_cancellation: !is_retained,
        },
        state_backend: "EmbeddedRocksDBStateBackend".to_owned(),
        checkpoint_storage: "FileSystemCheckpointStorage".to_owned(),
        unaligned_checkpoints: false,
        tolerable_failed_checkpoints: i64::from(config.get(&options::CHECKPOINT_TOLERABLE_FAILURES)?),
        aligned_checkpoint_timeout: 0,
        checkpoints_after_tasks_finish: true,
        state_changelog_enabled: false,
        changelog_periodic_materialization_interval: 600_000,
        changelog_storage: "memory".to_owned(),
    })
}
