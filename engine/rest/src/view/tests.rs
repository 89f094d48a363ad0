//! Bodies beside those that Flink gives of the same jobs.

use std::collections::BTreeMap;

use millrace_rest_types::ExecutionState::{self, *};
use millrace_rest_types::JobStatus;
use millrace_rest_types::number::Double;
use millrace_rest_types::vertices::{BackPressureLevel, BackPressureStatus};

use super::pressure::Times;
use super::{jobs, pressure, subtasks};
use crate::model::{Edge, Io, Job, Place, Subtask, Vertex};

/// In a state, and the times at which it came there and where it was before.
fn subtask(state: ExecutionState, times: &[(ExecutionState, i64)]) -> Subtask {
    Subtask {
        attempt: 0,
        state,
        timestamps: times.iter().copied().collect(),
        place: Some(Place {
            id: "tm-1".to_owned(),
            endpoint: "host:6121".to_owned(),
        }),
        io: Io {
            read_bytes: Some(10),
            write_bytes: Some(20),
            read_records: Some(1),
            write_records: Some(2),
            back_pressured: 3,
            idle: 4,
            busy: 5.0,
        },
    }
}

fn running() -> Subtask {
    subtask(
        Running,
        &[
            (Created, 100),
            (Scheduled, 110),
            (Deploying, 120),
            (Initializing, 150),
            (Running, 200),
        ],
    )
}

fn vertex(id: &str, subtasks: Vec<Subtask>) -> Vertex {
    Vertex {
        id: id.to_owned(),
        name: format!("vertex {id}"),
        description: vec!["[1]:Calc(where=[a < 3])".to_owned(), "+- end".to_owned()],
        parallelism: subtasks.len(),
        max_parallelism: 128,
        slot_sharing_group: "g".to_owned(),
        subtasks,
    }
}

fn job(state: JobStatus, timestamps: &[(JobStatus, i64)], vertices: Vec<Vertex>) -> Job {
    Job {
        id: "a".repeat(32),
        name: "orders".to_owned(),
        state,
        timestamps: timestamps.iter().copied().collect(),
        max_parallelism: None,
        edges: (1..vertices.len())
            .map(|to| Edge {
                from: to - 1,
                to,
                input: 0,
                strategy: "HASH".to_owned(),
            })
            .collect(),
        vertices,
    }
}

const BEGAN: [(JobStatus, i64); 3] = [
    (JobStatus::Initializing, 50),
    (JobStatus::Created, 90),
    (JobStatus::Running, 100),
];

#[test]
fn a_running_job() {
    let job = job(
        JobStatus::Running,
        &BEGAN,
        vec![vertex("1", vec![running(); 2]), vertex("2", vec![running()])],
    );
    let overview = jobs::overview(&job, 1000);
    assert_eq!(
        (overview.start_time, overview.end_time, overview.duration),
        (50, -1, 950)
    );
    assert_eq!((overview.tasks.running, overview.tasks.total), (3, 3));
    assert_eq!(overview.last_modification, 200);
    let details = jobs::details(&job, 1000);
    assert_eq!(details.timestamps[&JobStatus::Created], 90);
    assert_eq!(details.timestamps[&JobStatus::Finished], 0);
    assert_eq!(details.timestamps.len(), JobStatus::ALL.len());
    assert_eq!(details.status_counts[&Running], 2);
    assert_eq!(details.max_parallelism, -1);
    let first = &details.vertices[0];
    assert_eq!((first.start_time, first.end_time, first.duration), (120, -1, 880));
    assert_eq!(
        (first.tasks[&Running], first.tasks.len()),
        (2, ExecutionState::ALL.len())
    );
    assert_eq!(
        (first.metrics.write_records, first.metrics.write_records_complete),
        (4, true)
    );
    assert_eq!(first.metrics.accumulated_busy_time, Double(10.0));
    assert!(details.plan.nodes[0].inputs.is_empty());
    assert_eq!(details.plan.nodes[1].inputs[0].id, "1");
    assert_eq!(
        details.plan.nodes[0].description,
        "[1]:Calc(where=[a &lt; 3])<br/>+- end<br/>"
    );
}

#[test]
fn a_finished_job() {
    let finished = subtask(
        Finished,
        &[
            (Created, 100),
            (Scheduled, 110),
            (Deploying, 120),
            (Initializing, 150),
            (Running, 200),
            (Finished, 300),
        ],
    );
    let timestamps = [BEGAN.as_slice(), &[(JobStatus::Finished, 310)]].concat();
    let job = job(
        JobStatus::Finished,
        &timestamps,
        vec![vertex("1", vec![finished])],
    );
    let overview = jobs::overview(&job, 1000);
    assert_eq!(
        (overview.end_time, overview.duration, overview.last_modification),
        (310, 260, 310)
    );
    let vertex = &jobs::details(&job, 1000).vertices[0];
    assert_eq!(
        (vertex.start_time, vertex.end_time, vertex.duration),
        (120, 300, 180)
    );
    let attempt = &subtasks::details(&job.vertices[0], 1000).subtasks[0];
    assert_eq!((attempt.end_time, attempt.duration), (300, 180));
    let passed = [
        (Created, 10),
        (Scheduled, 10),
        (Deploying, 30),
        (Initializing, 50),
        (Running, 100),
    ];
    assert_eq!(attempt.status_duration, BTreeMap::from(passed));
    let times = subtasks::times(&job.vertices[0], 1000);
    assert_eq!(times.subtasks[0].duration, 190);
    assert_eq!(times.subtasks[0].timestamps[&Canceled], 0);
}

#[test]
fn what_has_not_happened_is_minus_one() {
    let waiting = Subtask {
        place: None,
        io: Io::default(),
        ..subtask(Scheduled, &[(Created, 100), (Scheduled, 110)])
    };
    let vertex = vertex("1", vec![waiting]);
    let attempt = &subtasks::details(&vertex, 1000).subtasks[0];
    assert_eq!(
        (attempt.start_time, attempt.end_time, attempt.duration),
        (-1, -1, -1)
    );
    assert_eq!(
        (attempt.endpoint.as_str(), attempt.taskmanager_id.as_str()),
        ("(unassigned)", "(unassigned)")
    );
    assert_eq!(
        (
            attempt.status_duration[&Scheduled],
            attempt.status_duration[&Deploying]
        ),
        (890, -1)
    );
    assert!(!attempt.metrics.read_bytes_complete);
    let job = job(JobStatus::Created, &BEGAN[..2], vec![vertex]);
    let first = &jobs::details(&job, 1000).vertices[0];
    assert_eq!(
        (first.status, first.start_time, first.duration),
        (Created, -1, -1)
    );
}

#[test]
fn states_together_are_flinks() {
    let of = |states: &[ExecutionState]| {
        let subtasks: Vec<Subtask> = states.iter().map(|state| subtask(*state, &[])).collect();
        subtasks::together(&subtasks)
    };
    for (states, expected) in [
        (&[Running, Failed][..], Failed),
        (&[Canceled, Canceling], Canceling),
        (&[Finished, Canceled], Canceled),
        (&[Running, Initializing], Initializing),
        (&[Running, Finished], Running),
        (&[Finished, Finished], Finished),
        (&[Scheduled, Finished], Running),
        (&[Scheduled, Deploying], Created),
    ] {
        assert_eq!(of(states), expected, "{states:?}");
    }
}

#[test]
fn subtasks_by_their_task_managers() {
    let mut elsewhere = running();
    elsewhere.place = Some(Place {
        id: "tm-2".to_owned(),
        endpoint: "other:6121".to_owned(),
    });
    let vertex = vertex("1", vec![running(), elsewhere, running()]);
    let found = subtasks::task_managers(&vertex, 1000).taskmanagers;
    let told: Vec<_> = found
        .iter()
        .map(|tm| {
            (
                tm.endpoint.as_str(),
                tm.status_counts[&Running],
                tm.metrics.read_bytes,
            )
        })
        .collect();
    assert_eq!(told, [("host:6121", 2, 20), ("other:6121", 1, 10)]);
    let distribution = found[0].aggregated.metrics["read-bytes"];
    assert_eq!(
        (distribution.sum, distribution.max, distribution.median),
        (20, 10, 10)
    );
    assert_eq!(found[0].aggregated.status_duration[&Running].max, 800);
}

#[test]
fn pressure_has_three_levels() {
    let times = |back_pressured| Times {
        back_pressured,
        idle: 1000.0 - back_pressured,
        busy: 0.0,
    };
    let told = pressure::of(&[times(100.0), times(500.0), times(501.0)], 7);
    let levels: Vec<_> = told
        .subtasks
        .iter()
        .flatten()
        .map(|subtask| subtask.level)
        .collect();
    assert_eq!(
        levels,
        [
            BackPressureLevel::Ok,
            BackPressureLevel::Low,
            BackPressureLevel::High
        ]
    );
    assert_eq!(
        (told.status, told.level),
        (BackPressureStatus::Ok, Some(BackPressureLevel::High))
    );
    assert_eq!(pressure::of(&[], 7).status, BackPressureStatus::Deprecated);
}
