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

    /// A split that may give rows yet holds the watermark back from before its first one, which may be late
    /// else only because another split was read first; one that gives none any more does no longer.
    fn open_splits(&mut self, splits: &[u32], now: i64, out: &mut Vec<Element>) {
        self.splits
            .retain(|split, _| *split == WHOLE || splits.contains(split));
        for split in splits {
            self.splits.entry(*split).or_insert(Split {
                watermark: i64::MIN,
                last_row: now,
            });
        }
        self.advance(now, out);
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
            Element::Splits(splits) => self.open_splits(&splits, now_millis(), out),
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

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, TimestampMillisecondArray};
    use arrow::record_batch::RecordBatch;
    use millrace_connector_api::ChangeBatch;
    use millrace_expr::{DataType, Expr, TypeKind};

    use super::*;

    /// The watermark is the time itself.
    fn watermark(idle_timeout: Duration) -> Watermark {
        let time = DataType::not_null(TypeKind::Timestamp(3));
        let spec = WatermarkSpec {
            column: 0,
            expression: Expr::column(0, time),
        };
        let metrics = TaskMetrics::new(["watermark".to_owned()]);
        Watermark::new(&spec, "ts", idle_timeout, &Session::default(), metrics).unwrap()
    }

    fn rows(split: u32, times: &[i64]) -> Element {
        let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(times.to_vec()));
        let rows = RecordBatch::try_from_iter([("ts", column)]).unwrap();
        Element::Batch(Batch {
            splits: Some([(split, times.len())].into()),
            ..ChangeBatch::inserts(rows).into()
        })
    }

    fn open(splits: &[u32]) -> Element {
        Element::Splits(splits.into())
    }

    /// The watermarks that come out.
    fn sent(operator: &mut Watermark, elements: Vec<Element>) -> Vec<i64> {
        let mut out = Vec::new();
        for element in elements {
            match element {
                Element::Batch(batch) => operator.batch(0, batch, &mut out).unwrap(),
                other => operator.other(other, &mut out).unwrap(),
            }
        }
        assert!(!out.iter().any(|e| matches!(e, Element::Splits(_))));
        let watermarks = out.into_iter().filter_map(|element| match element {
            Element::Watermark(watermark) => Some(watermark),
            _ => None,
        });
        watermarks.collect()
    }

    #[test]
    fn a_split_that_was_not_read_yet_holds_the_watermark_back() {
        let mut operator = watermark(Duration::ZERO);
        let first = sent(&mut operator, vec![open(&[0, 1]), rows(0, &[100, 200, 900])]);
        assert_eq!(first, [0; 0], "rows of split 1 may be older");
        assert_eq!(sent(&mut operator, vec![rows(1, &[50, 70])]), [70]);
        assert_eq!(sent(&mut operator, vec![rows(1, &[950])]), [900]);
    }

    #[test]
    fn a_split_that_is_over_does_not_and_one_that_is_new_does() {
        let mut operator = watermark(Duration::ZERO);
        let before = sent(
            &mut operator,
            vec![open(&[0, 1]), rows(0, &[100]), rows(1, &[500]), open(&[1])],
        );
        assert_eq!(before, [100, 500]);
        assert_eq!(sent(&mut operator, vec![open(&[1, 2]), rows(1, &[800])]), [0; 0]);
        assert_eq!(sent(&mut operator, vec![rows(2, &[600])]), [600]);
    }

    #[test]
    fn a_split_without_rows_becomes_idle() {
        let mut operator = watermark(Duration::from_millis(500));
        assert_eq!(sent(&mut operator, vec![open(&[0, 1]), rows(0, &[100])]), [0; 0]);
        let mut out = Vec::new();
        let now = now_millis();
        // The one that has rows has some again.
        operator.splits.get_mut(&0).unwrap().last_row = now + 10_000;
        operator.tick(now + 10_000, &mut out).unwrap();
        assert!(matches!(out.as_slice(), [Element::Watermark(100)]), "{out:?}");
    }
}
