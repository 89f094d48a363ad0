//! Metrics by name.

use serde::{Deserialize, Serialize};

use crate::number::Double;

/// One of the answers of `.../metrics`: without `?get=` names alone, with it the values of those that there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// One of the answers of `/jobs/metrics`, `/taskmanagers/metrics` and `.../subtasks/metrics`: without `?get=` names alone,
/// with it what `?agg=` asks for, or all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregatedMetric {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Double>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Double>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg: Option<Double>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<Double>,
    /// How uneven the values are: their mean distance from the average, in percent of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew: Option<Double>,
}
