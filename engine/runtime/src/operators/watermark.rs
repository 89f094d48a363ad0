//! Event-time watermarks: an expression over each row, per source split, the minimum over the
//! splits that are active.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use millrace_core::{Error, Result};
use millrace_dataflow::WatermarkSpec;
use millrace_expr::compile::{Evaluation, Program, Session};

use super::{Operator, now_millis};
use crate::element::{Batch, Element};
use crate::metrics::TaskMetrics;

/// The split of rows whose source is not known.
const WHOLE: u32 = u32::MAX;

pub struct Watermark {
    column: usize,
    column_name: String,
    expression: Program,
    idle_after: Option<Duration>,
    splits: HashMap<u32, Split>,
    sent: i64,
    idle: bool,
    metrics: Arc<TaskMetrics>,
}

struct Split {
    watermark: i64,
    last_row: i64,
}

impl Watermark {
    pub fn new(
        spec: &WatermarkSpec,
        column_name: &str,
        idle_timeout: Duration,
        session: &Session,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Self> {
        Ok(Watermark {
            column: spec.column,
            column_name: column_name.to_owned(),
            expression: Program::compile(&spec.expression, session)?,
            idle_after: (!idle_timeout.is_zero()).then_some(idle_timeout),
            splits: HashMap::new(),
            sent: i64::MIN,
            idle: false,
            metrics,
        })
    }

    fn advance(&mut self, now: i64, out: &mut Vec<Element>) {
        let timeout = self.idle_after.map(|d| d.as_millis() as i64);
        let active = |s: &&Split| timeout.is_none_or(|t| now - s.last_row < t);
        match self.splits.values().filter(active).map(|s| s.watermark).min() {
            Some(lowest) => {
                self.idle = false;
                if lowest > self.sent {
                    self.sent = lowest;
                    self.metrics.watermark.set(lowest);
                    out.push(Element::Watermark(lowest));
                }
            }
            None if !self.splits.is_empty() && !self.idle => {
                self.idle = true;
                out.push(Element::Idle);
            }
            None => {}
        }
    }
}

/// The greatest of some rows of a timestamp column, in milliseconds; nulls do not count.
fn greatest_millis(column: &ArrayRef, from: usize, rows: usize) -> Option<i64> {
    let column = column.slice(from, rows);
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            arrow::compute::max(column.as_primitive::<TimestampMillisecondType>())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            arrow::compute::max(column.as_primitive::<TimestampMicrosecondType>())
                .map(|t| t.div_euclid(1_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            arrow::compute::max(column.as_primitive::<TimestampNanosecondType>())
                .map(|t| t.div_euclid(1_000_000))
        }
        _ => None,
    }
}

impl Operator for Watermark {
    fn batch(&mut self, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let now = now_millis();
        let rows = &batch.change.rows;
        if rows.column(self.column).null_count() > 0 {
            return Err(Error::user(format!(
                "the rowtime column '{}' is null in a row",
                self.column_name
            ))
            .with_hint(
                "an event time must not be null: filter such rows out in a view before the WATERMARK",
            ));
        }
        let watermarks = self.expression.evaluate(rows, &Evaluation { now_millis: now })?;
        let whole = [(WHOLE, rows.num_rows())];
        let mut from = 0;
        for &(split, count) in batch.splits.as_deref().unwrap_or(&whole) {
            let greatest = greatest_millis(&watermarks, from, count);
            from += count;
            let state = self.splits.entry(split).or_insert(Split {
                watermark: i64::MIN,
                last_row: now,
            });
            state.last_row = now;
            // A watermark says that nothing at or before it follows.
            state.watermark = state.watermark.max(greatest.unwrap_or(i64::MIN));
        }
        out.push(Element::Batch(batch));
        self.advance(now, out);
        Ok(())
    }

    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> Result<()> {
        match element {
            // The source's own end; what comes before it from upstream is replaced by this operator.
            Element::Watermark(i64::MAX) => {
                self.metrics.watermark.set(i64::MAX);
                out.push(Element::Watermark(i64::MAX));
            }
            Element::Watermark(_) | Element::Idle => {}
            other => out.push(other),
        }
        Ok(())
    }

    fn tick(&mut self, now_millis: i64, out: &mut Vec<Element>) -> Result<()> {
        if self.idle_after.is_some() {
            self.advance(now_millis, out);
        }
        Ok(())
    }
}
