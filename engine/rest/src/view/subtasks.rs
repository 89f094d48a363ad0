//! A vertex and its subtasks.

use std::collections::BTreeMap;

use millrace_rest_types::ExecutionState;
use millrace_rest_types::number::Double;
use millrace_rest_types::vertices::{
    Aggregated, AttemptAccumulators, Distribution, IoMetrics, SubtaskAccumulators, SubtaskAttempt,
    SubtaskTime, SubtaskTimes, SubtasksAccumulators, VertexDetails, VertexTaskManager, VertexTaskManagers,
};

use crate::model::{Place, Subtask, Vertex};
use crate::statistics::Values;
use crate::view::jobs::counts;

/// Where a subtask has no TaskManager yet.
const UNASSIGNED: &str = "(unassigned)";

/// The states that are passed before the end, in their order.
const PASSED: [ExecutionState; 5] = [
    ExecutionState::Created,
    ExecutionState::Scheduled,
    ExecutionState::Deploying,
    ExecutionState::Initializing,
    ExecutionState::Running,
];

/// What ends them.
const ENDS: [ExecutionState; 4] = [
    ExecutionState::Finished,
    ExecutionState::Canceling,
    ExecutionState::Canceled,
    ExecutionState::Failed,
];

/// From the first deployment to the last end; -1 for what has not happened.
pub struct Span {
    pub start: i64,
    pub end: i64,
    pub duration: i64,
}

pub fn span<'a>(subtasks: impl IntoIterator<Item = &'a Subtask>, now: i64) -> Span {
    let mut start = None;
    let (mut end, mut all_ended) = (0, true);
    for subtask in subtasks {
        let deployed = subtask.at(ExecutionState::Deploying);
        if deployed > 0 {
            start = Some(start.map_or(deployed, |start: i64| start.min(deployed)));
        }
        all_ended &= subtask.state.is_final();
        end = end.max(subtask.at(subtask.state));
    }
    match start {
        None => Span {
            start: -1,
            end: -1,
            duration: -1,
        },
        Some(start) if all_ended => Span {
            start,
            end,
            duration: end - start,
        },
        Some(start) => Span {
            start,
            end: -1,
            duration: now - start,
        },
    }
}

/// The state of subtasks together.
pub fn together<'a>(subtasks: impl IntoIterator<Item = &'a Subtask>) -> ExecutionState {
    use ExecutionState::{Canceled, Canceling, Created, Failed, Finished, Initializing, Running};
    let states: Vec<ExecutionState> = subtasks.into_iter().map(|subtask| subtask.state).collect();
    let strongest = [Failed, Canceling, Canceled, Initializing, Running]
        .into_iter()
        .find(|state| states.contains(state));
    match strongest {
        Some(state) => state,
        None if states.contains(&Finished) => match states.iter().all(|state| *state == Finished) {
            true => Finished,
            false => Running,
        },
        None => Created,
    }
}

/// Sums; complete where every subtask has told.
pub fn io_metrics<'a>(subtasks: impl IntoIterator<Item = &'a Subtask> + Clone) -> IoMetrics {
    let all = || subtasks.clone().into_iter().map(|subtask| subtask.io);
    let sum = |of: fn(&crate::model::Io) -> Option<u64>| {
        let told: u64 = all().filter_map(|io| of(&io)).sum();
        (told, all().all(|io| of(&io).is_some()))
    };
    let (read_bytes, read_bytes_complete) = sum(|io| io.read_bytes);
    let (write_bytes, write_bytes_complete) = sum(|io| io.write_bytes);
    let (read_records, read_records_complete) = sum(|io| io.read_records);
    let (write_records, write_records_complete) = sum(|io| io.write_records);
    IoMetrics {
        read_bytes,
        read_bytes_complete,
        write_bytes,
        write_bytes_complete,
        read_records,
        read_records_complete,
        write_records,
        write_records_complete,
        accumulated_backpressured_time: all().map(|io| io.back_pressured).sum(),
        accumulated_idle_time: all().map(|io| io.idle).sum(),
        accumulated_busy_time: Double(all().map(|io| io.busy).sum()),
    }
}

pub fn details(vertex: &Vertex, now: i64) -> VertexDetails {
    let subtasks = vertex.subtasks.iter().enumerate();
    let subtasks = subtasks
        .map(|(index, subtask)| attempt(index, subtask, now))
        .collect();
    VertexDetails {
        id: vertex.id.clone(),
        name: vertex.name.clone(),
        parallelism: vertex.parallelism,
        max_parallelism: vertex.max_parallelism,
        now,
        aggregated: aggregated(&subtasks),
        subtasks,
    }
}

fn endpoint(subtask: &Subtask) -> String {
    let place = subtask.place.as_ref();
    place.map_or(UNASSIGNED, |place| &place.endpoint).to_owned()
}

pub fn attempt(index: usize, subtask: &Subtask, now: i64) -> SubtaskAttempt {
    let start = match subtask.at(ExecutionState::Deploying) {
        0 => -1,
        start => start,
    };
    let end = match subtask.state.is_final() {
        true => subtask.at(subtask.state),
        false => -1,
    };
    let place = subtask.place.as_ref();
    SubtaskAttempt {
        subtask: index,
        status: subtask.state,
        attempt: subtask.attempt,
        endpoint: endpoint(subtask),
        start_time: start,
        end_time: end,
        duration: match (start, end) {
            (-1, _) => -1,
            (start, -1) => now - start,
            (start, end) => end - start,
        },
        metrics: io_metrics([subtask]),
        taskmanager_id: place.map_or(UNASSIGNED, |place| &place.id).to_owned(),
        status_duration: durations(subtask, now),
        start_time_compatible: start,
        other_concurrent_attempts: None,
    }
}

/// How long it was, or is, in each state before its end; -1: it has not come there.
fn durations(subtask: &Subtask, now: i64) -> BTreeMap<ExecutionState, i64> {
    let duration = |place: usize, state: ExecutionState| match subtask.at(state) {
        0 => -1,
        start => {
            let later = PASSED[place + 1..].iter().chain(&ENDS);
            let next = later.map(|state| subtask.at(*state)).filter(|at| *at > 0).min();
            next.unwrap_or(now) - start
        }
    };
    let all = PASSED.into_iter().enumerate();
    all.map(|(place, state)| (state, duration(place, state)))
        .collect()
}

fn aggregated(attempts: &Vec<SubtaskAttempt>) -> Aggregated {
    let figures: [(&str, fn(&IoMetrics) -> i64); 7] = [
        ("read-bytes", |io| io.read_bytes as i64),
        ("write-bytes", |io| io.write_bytes as i64),
        ("read-records", |io| io.read_records as i64),
        ("write-records", |io| io.write_records as i64),
        ("accumulated-backpressured-time", |io| {
            io.accumulated_backpressured_time as i64
        }),
        ("accumulated-idle-time", |io| io.accumulated_idle_time as i64),
        // What is not a number is 0, as in Java.
        ("accumulated-busy-time", |io| io.accumulated_busy_time.0 as i64),
    ];
    let of = |figure: fn(&IoMetrics) -> i64| -> Distribution {
        let values: Values = attempts.iter().map(|attempt| figure(&attempt.metrics)).collect();
        values.distribution()
    };
    let in_state = |state: ExecutionState| -> Distribution {
        let durations = attempts
            .iter()
            .filter_map(|attempt| attempt.status_duration.get(&state));
        durations.copied().collect::<Values>().distribution()
    };
    Aggregated {
        metrics: figures.map(|(name, figure)| (name.to_owned(), of(figure))).into(),
        status_duration: PASSED.map(|state| (state, in_state(state))).into(),
    }
}

pub fn times(vertex: &Vertex, now: i64) -> SubtaskTimes {
    let time = |(index, subtask): (usize, &Subtask)| {
        let end = match subtask.state.is_final() {
            true => subtask.at(subtask.state),
            false => now,
        };
        SubtaskTime {
            subtask: index,
            endpoint: endpoint(subtask),
            duration: match subtask.at(ExecutionState::Scheduled) {
                0 => -1,
                start => end - start,
            },
            timestamps: ExecutionState::ALL.map(|state| (state, subtask.at(state))).into(),
        }
    };
    SubtaskTimes {
        id: vertex.id.clone(),
        name: vertex.name.clone(),
        now,
        subtasks: vertex.subtasks.iter().enumerate().map(time).collect(),
    }
}

/// Subtasks by the TaskManagers that they are on.
pub fn task_managers(vertex: &Vertex, now: i64) -> VertexTaskManagers {
    let mut places: BTreeMap<Option<&Place>, Vec<(usize, &Subtask)>> = BTreeMap::new();
    for (index, subtask) in vertex.subtasks.iter().enumerate() {
        places
            .entry(subtask.place.as_ref())
            .or_default()
            .push((index, subtask));
    }
    let task_manager = |(place, on_it): (Option<&Place>, Vec<(usize, &Subtask)>)| {
        let subtasks = || on_it.iter().map(|(_, subtask)| *subtask);
        let span = span(subtasks(), now);
        let attempts = on_it
            .iter()
            .map(|(index, subtask)| attempt(*index, subtask, now))
            .collect();
        VertexTaskManager {
            endpoint: place.map_or(UNASSIGNED, |place| &place.endpoint).to_owned(),
            status: together(subtasks()),
            start_time: span.start,
            end_time: span.end,
            duration: span.duration,
            metrics: io_metrics(subtasks()),
            status_counts: counts(subtasks().map(|subtask| subtask.state)),
            taskmanager_id: place.map_or(UNASSIGNED, |place| &place.id).to_owned(),
            aggregated: aggregated(&attempts),
        }
    };
    VertexTaskManagers {
        id: vertex.id.clone(),
        name: vertex.name.clone(),
        now,
        taskmanagers: places.into_iter().map(task_manager).collect(),
    }
}

/// SQL has no accumulators.
pub fn all_accumulators(vertex: &Vertex) -> SubtasksAccumulators {
    let subtasks = vertex.subtasks.iter().enumerate();
    let subtasks = subtasks.map(|(index, subtask)| SubtaskAccumulators {
        subtask: index,
        attempt: subtask.attempt,
        endpoint: endpoint(subtask),
        user_accumulators: Vec::new(),
    });
    SubtasksAccumulators {
        id: vertex.id.clone(),
        parallelism: vertex.parallelism,
        subtasks: subtasks.collect(),
    }
}

pub fn attempt_accumulators(
    job: &str,
    vertex: &Vertex,
    index: usize,
    subtask: &Subtask,
) -> AttemptAccumulators {
    AttemptAccumulators {
        subtask: index,
        attempt: subtask.attempt,
        id: format!("{job}_{}_{index}_{}", vertex.id, subtask.attempt),
        user_accumulators: Vec::new(),
    }
}
