//! Back-pressure, by the shares of a second.

use millrace_rest_types::number::Double;
use millrace_rest_types::vertices::{
    BackPressure, BackPressureLevel, BackPressureStatus, SubtaskBackPressure,
};

/// How a subtask has spent the last seconds: milliseconds of each second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    pub back_pressured: f64,
    pub idle: f64,
    pub busy: f64,
}

/// Of subtasks in their order; none have told, where there is none.
pub fn of(subtasks: &[Times], told_at: i64) -> BackPressure {
    if subtasks.is_empty() {
        return BackPressure {
            status: BackPressureStatus::Deprecated,
            level: None,
            level_compatible: None,
            end_timestamp: None,
            subtasks: None,
        };
    }
    let subtasks: Vec<SubtaskBackPressure> = subtasks.iter().enumerate().map(subtask).collect();
    let level = subtasks.iter().map(|subtask| subtask.level).max();
    BackPressure {
        status: BackPressureStatus::Ok,
        level,
        level_compatible: level,
        end_timestamp: Some(told_at),
        subtasks: Some(subtasks),
    }
}

fn subtask((index, times): (usize, &Times)) -> SubtaskBackPressure {
    let ratio = times.back_pressured / 1000.0;
    let level = match ratio {
        ratio if ratio <= 0.1 => BackPressureLevel::Ok,
        ratio if ratio <= 0.5 => BackPressureLevel::Low,
        _ => BackPressureLevel::High,
    };
    SubtaskBackPressure {
        subtask: index,
        attempt_number: None,
        level,
        level_compatible: level,
        ratio: Double(ratio),
        idle_ratio: Double(times.idle / 1000.0),
        busy_ratio: Double(times.busy / 1000.0),
        other_concurrent_attempts: None,
    }
}
