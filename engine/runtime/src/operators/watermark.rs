//! Event-time watermarks: an expression over each row, per source split, the minimum over the
//! splits that are active.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::Array;
use millrace_core::{Error, Result};
use millrace_dataflow::WatermarkSpec;
use millrace_expr::compile::{Evaluation, Program, Session};

use super::{Operator, now_millis};
use crate::element::{Batch, Element};
use crate::metrics::TaskMetrics;
use crate::time::millis;

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

    /// The lowest watermark of the active splits, all but one.
    fn lowest(&self, now: i64, but: Option<u32>) -> Option<i64> {
        let timeout = self.idle_after.map(|d| d.as_millis() as i64);
        self.splits
            .iter()
            .filter(|(split, s)| Some(**split) != but && timeout.is_none_or(|t| now - s.last_row < t))
            .map(|(_, s)| s.watermark)
            .min()
    }

    /// Splits that have become idle no longer hold the others back.
    fn advance(&mut self, now: i64, out: &mut Vec<Element>) {
        match self.lowest(now, None) {
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

impl Operator for Watermark {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
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
        let given = self.expression.evaluate(rows, &Evaluation { now_millis: now })?;
        let given = millis(&given)?;
        let before = self.sent;
        let mut watermarks = Vec::with_capacity(given.len());
        let whole = [(WHOLE, rows.num_rows())];
        let mut rest = given.as_slice();
        for &(split, count) in batch.splits.as_deref().unwrap_or(&whole) {
            let run;
            (run, rest) = rest.split_at(count);
            let others = self.lowest(now, Some(split)).unwrap_or(i64::MAX);
            let state = self.splits.entry(split).or_insert(Split {
                watermark: i64::MIN,
                last_row: now,
            });
            state.last_row = now;
            // A watermark says that nothing at or before it follows.
            for watermark in run {
                self.sent = self.sent.max(state.watermark.min(others));
                watermarks.push(self.sent);
                state.watermark = state.watermark.max(*watermark);
            }
            self.sent = self.sent.max(state.watermark.min(others));
        }
        let rose = watermarks.last().is_some_and(|last| *last > before);
        out.push(Element::Batch(Batch {
            watermarks: rose.then(|| watermarks.into()),
            ..batch
        }));
        self.idle = false;
        if self.sent > before {
            self.metrics.watermark.set(self.sent);
            out.push(Element::Watermark(self.sent));
        }
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
