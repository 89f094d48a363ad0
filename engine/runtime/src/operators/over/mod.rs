//! OVER: each row with the results of functions over the rows up to it.
//!
//! Layout: `running` by arrival from the first row on, a batch at a time; `windowed` all others,
//! row by row in `steps` that are computed together; `accumulators` what is kept of each key,
//! `lag` the values before each row, `cleanup` keys that are forgotten.

mod accumulators;
mod cleanup;
mod lag;
mod running;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod ttl_tests;
mod windowed;

use std::sync::Arc;

use millrace_core::Result;
use millrace_dataflow::{Frame, OverAggregate, TimeKind};
use millrace_expr::RowType;
use millrace_state::keyed::KeyedBackend;

use self::running::Running;
use self::windowed::Windowed;
use super::Operator;
use crate::metrics::TaskMetrics;

/// The operator of a plan. Where the clock orders rows and none leaves, `ttl_millis` is that of the table
/// of accumulators; elsewhere timers forget keys.
pub fn operator(
    plan: &OverAggregate,
    input: &RowType,
    output: &RowType,
    backend: &KeyedBackend,
    ttl_millis: i64,
    metrics: Arc<TaskMetrics>,
) -> Result<Box<dyn Operator>> {
    Ok(match (plan.kind, plan.frame) {
        (TimeKind::Processing, Frame::Rows(None) | Frame::Range(None)) => {
            Box::new(Running::new(plan, input, output, backend)?)
        }
        // A window of time forgets by itself.
        (_, Frame::Range(Some(_))) => Box::new(Windowed::new(plan, input, output, backend, 0, metrics)?),
        _ => Box::new(Windowed::new(plan, input, output, backend, ttl_millis, metrics)?),
    })
}
