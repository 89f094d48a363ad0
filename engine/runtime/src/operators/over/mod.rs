//! OVER: each row with the results of functions over the rows up to it.
//!
//! Layout: `running` by arrival from the first row on, a batch at a time; `windowed` all others,
//! row by row in `steps` that are computed together; `accumulators` what is kept of each key,
//! `lag` the values before each row.

mod accumulators;
mod lag;
mod running;
mod steps;
#[cfg(test)]
mod tests;
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

/// The operator of a plan.
pub fn operator(
    plan: &OverAggregate,
    input: &RowType,
    output: &RowType,
    backend: &KeyedBackend,
    metrics: Arc<TaskMetrics>,
) -> Result<Box<dyn Operator>> {
    Ok(match (plan.kind, plan.frame) {
        (TimeKind::Processing, Frame::Rows(None) | Frame::Range(None)) => {
            Box::new(Running::new(plan, input, output, backend)?)
        }
        _ => Box::new(Windowed::new(plan, input, output, backend, metrics)?),
    })
}
