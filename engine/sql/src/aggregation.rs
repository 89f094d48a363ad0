//! How GROUP BY is computed: row by row or in mini-batches, in one phase or in two.

use millrace_core::options::{AGG_PHASE_STRATEGY, MINI_BATCH_ENABLED, MINI_BATCH_LATENCY, MINI_BATCH_SIZE};
use millrace_core::{Configuration, Error, Result};
use millrace_dataflow::{GroupAggregate, MiniBatch, Window};
use millrace_expr::aggregate::{AggregateCall, AggregateFunction};
use millrace_expr::{DataType, Field, TypeKind};

use crate::plan::WindowAggregate;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Aggregation {
    pub mini_batch: Option<MiniBatch>,
    one_phase: bool,
}

impl Aggregation {
    /// As Flink's options say. An error for values that they do not have.
    pub fn of(config: &Configuration) -> Result<Self> {
        let strategy = config.get(&AGG_PHASE_STRATEGY)?;
        let one_phase = match strategy.trim().to_ascii_uppercase().as_str() {
            "AUTO" | "TWO_PHASE" => false,
            "ONE_PHASE" => true,
            _ => {
                return Err(
                    Error::user(format!("'{}' has no value '{strategy}'", AGG_PHASE_STRATEGY.key))
                        .with_hint("it has AUTO, ONE_PHASE and TWO_PHASE"),
                );
            }
        };
        let mini_batch = match config.get(&MINI_BATCH_ENABLED)? {
            false => None,
            true => Some(MiniBatch {
                rows: positive(config.get(&MINI_BATCH_SIZE)?, MINI_BATCH_SIZE.key)? as usize,
                latency_millis: positive(
                    config.get(&MINI_BATCH_LATENCY)?.as_millis() as i64,
                    MINI_BATCH_LATENCY.key,
                )?,
            }),
        };
        Ok(Aggregation {
            mini_batch,
            one_phase,
        })
    }

    /// Whether Flink aggregates by these windows in two phases.
    pub fn windows_in_parts(&self, spec: &WindowAggregate) -> bool {
        let is_session = matches!(spec.window(), Window::Session { .. });
        let merges = spec.calls.iter().all(AggregateCall::merges_windows);
        !self.one_phase && !is_session && !spec.is_proctime() && merges
    }

    /// The columns of a group's state where it is computed in two phases, which Flink does with
    /// mini-batches only. States that cannot be added to one another are computed in one.
    pub fn states(&self, plan: &GroupAggregate) -> Option<Vec<Field>> {
        if self.mini_batch.is_none() || self.one_phase {
            return None;
        }
        if !plan.calls.iter().all(|call| call.merges(plan.retracts)) {
            return None;
        }
        let count = Field::new("count1", DataType::not_null(TypeKind::BigInt));
        let mut fields: Vec<Field> = plan.retracts.then_some(count).into_iter().collect();
        for call in &plan.calls {
            let state = call.accumulator(plan.retracts, 0).ok()?.fields();
            fields.extend(state.into_iter().map(|field| Field {
                name: shown(call, &field.name).to_owned(),
                ..field
            }));
        }
        for (i, field) in fields.iter_mut().enumerate() {
            field.name.push_str(&format!("${i}"));
        }
        Some(fields)
    }
}

/// What Flink calls a part of a state.
fn shown<'a>(call: &AggregateCall, field: &'a str) -> &'a str {
    match (call.function, call.arg) {
        (AggregateFunction::Count, None) => "count1",
        (AggregateFunction::Min, _) => "min",
        (AggregateFunction::Max, _) => "max",
        _ => field,
    }
}

fn positive(value: i64, key: &str) -> Result<i64> {
    match value > 0 {
        true => Ok(value),
        false => Err(
            Error::user(format!("'{key}' has to be set where mini-batches are enabled"))
                .with_detail(format!("its value is {value}"))
                .with_hint(
                    "set both 'table.exec.mini-batch.size' = '5000' and \
                     'table.exec.mini-batch.allow-latency' = '1 s', or switch mini-batches off",
                ),
        ),
    }
}
