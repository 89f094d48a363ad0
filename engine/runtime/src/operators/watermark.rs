//! Event-time watermarks: an expression over each row, per source split where the source says which it
//! reads, the minimum over the splits that are active. One that has given no row yet holds it back, as in
//! Flink, until it is idle or at its end.

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
    /// The source says which splits it reads: each of them holds back from when it is there.
    is_told: bool,
    /// Since when there is no split.
    empty_since: i64,
    clock: IdleClock,
    sent: i64,
    idle: bool,
    metrics: Arc<TaskMetrics>,
}

struct Split {
    watermark: i64,
    /// When it gave a row, by the clock of idleness.
    last_row: i64,
}

/// The time in which rows could have come, in milliseconds: without that in which none were taken in. What
/// waits behind a stream that is held up is not idle.
struct IdleClock {
    lost: i64,
    looked: i64,
}

/// A longer time without a look at the source was spent on something else.
const LONGEST_LOOK: i64 = 1000;

impl IdleClock {
    fn at(&mut self, now: i64) -> i64 {
        let since = now - self.looked;
        self.looked = now;
        self.lost += (since - LONGEST_LOOK).max(0);
        now - self.lost
    }

    fn held_up(&mut self, millis: i64) {
        self.lost += millis;
        self.looked += millis;
    }
}

impl Watermark {
    pub fn new(
        spec: &WatermarkSpec,
        column_name: &str,
        idle_timeout: Duration,
        session: &Session,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Self> {
        let now = now_millis();
        Ok(Watermark {
            column: spec.column,
            column_name: column_name.to_owned(),
            expression: Program::compile(&spec.expression, session)?,
            idle_after: (!idle_timeout.is_zero()).then_some(idle_timeout),
            splits: HashMap::new(),
            is_told: false,
            empty_since: now,
            clock: IdleClock { lost: 0, looked: now },
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
            None if !self.idle && self.is_idle(now) => {
                self.idle = true;
                out.push(Element::Idle);
            }
            None => {}
        }
    }

    /// Whether nothing comes, where no split is active: a source without splits has to wait, too.
    fn is_idle(&self, now: i64) -> bool {
        let timeout = self.idle_after.map(|d| d.as_millis() as i64);
        match self.splits.is_empty() {
            true => timeout.is_some_and(|timeout| now - self.empty_since >= timeout),
            false => true,
        }
    }

    /// The splits that the source reads now.
    fn told(&mut self, splits: &[u32], now: i64, out: &mut Vec<Element>) {
        self.is_told = true;
        let was_empty = self.splits.is_empty();
        self.splits.retain(|split, _| splits.contains(split));
        for split in splits {
            self.splits.entry(*split).or_insert(Split {
                watermark: i64::MIN,
                last_row: now,
            });
        }
        if self.splits.is_empty() && !was_empty {
            self.empty_since = now;
        }
        // One that is at its end holds nothing back any more.
        if !self.splits.is_empty() {
            self.advance(now, out);
        }
    }
}

impl Operator for Watermark {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let now_millis = now_millis();
        let now = self.clock.at(now_millis);
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
        let given = self.expression.evaluate(rows, &Evaluation { now_millis })?;
        let given = millis(&given)?;
        let before = self.sent;
        let mut watermarks = Vec::with_capacity(given.len());
        let whole = [(WHOLE, rows.num_rows())];
        let mut rest = given.as_slice();
        let runs = batch.splits.as_deref().filter(|_| self.is_told);
        for &(split, count) in runs.unwrap_or(&whole) {
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
            Element::Splits(splits) => {
                let now = self.clock.at(now_millis());
                self.told(&splits, now, out);
            }
            other => out.push(other),
        }
        Ok(())
    }

    fn tick(&mut self, now_millis: i64, out: &mut Vec<Element>) -> Result<()> {
        if self.idle_after.is_some() {
            let now = self.clock.at(now_millis);
            self.advance(now, out);
        }
        Ok(())
    }

    fn held_up(&mut self, millis: i64) {
        self.clock.held_up(millis);
    }
}

#[cfg(test)]
mod tests {
    use millrace_expr::text::zone;
    use millrace_expr::{DataType, Expr, TypeKind};

    use super::super::harness::{batch, insert, row_type};
    use super::*;

    const NONE: [i64; 0] = [];

    fn operator(idle_after: Duration) -> Watermark {
        let time = DataType {
            kind: TypeKind::Timestamp(3),
            nullable: true,
        };
        let spec = WatermarkSpec {
            column: 0,
            expression: Expr::column(0, time),
            idle_timeout_millis: None,
        };
        let session = Session {
            time_zone: zone::session("UTC").unwrap(),
        };
        let metrics = TaskMetrics::new(["watermark".to_owned()]);
        Watermark::new(&spec, "t", idle_after, &session, metrics).unwrap()
    }

    /// Rows of splits, each with its time; the watermarks that follow.
    fn rows(operator: &mut Watermark, given: &[(u32, i64)]) -> Vec<i64> {
        let changes: Vec<_> = given.iter().map(|(_, time)| insert(&[*time])).collect();
        let rows = Batch {
            splits: Some(given.iter().map(|(split, _)| (*split, 1)).collect()),
            ..batch(&row_type(&["t"]), &changes)
        };
        let mut out = Vec::new();
        operator.batch(0, rows, &mut out).unwrap();
        watermarks(out)
    }

    fn watermarks(elements: Vec<Element>) -> Vec<i64> {
        let watermark = |element| match element {
            Element::Watermark(watermark) => Some(watermark),
            Element::Idle => Some(-1),
            _ => None,
        };
        elements.into_iter().filter_map(watermark).collect()
    }

    fn splits(operator: &mut Watermark, splits: &[u32]) -> Vec<i64> {
        let mut out = Vec::new();
        operator.other(Element::Splits(splits.into()), &mut out).unwrap();
        watermarks(out)
    }

    #[test]
    fn a_split_without_a_row_holds_the_watermark_back_until_it_ends() {
        let mut operator = operator(Duration::ZERO);
        assert_eq!(splits(&mut operator, &[0, 1, 2]), NONE);
        assert_eq!(rows(&mut operator, &[(0, 10), (2, 7), (0, 20)]), NONE);
        assert_eq!(rows(&mut operator, &[(1, 3)]), [3]);
        // One that comes later starts below all, and takes nothing back.
        assert_eq!(splits(&mut operator, &[0, 1, 2, 3]), NONE);
        assert_eq!(rows(&mut operator, &[(1, 30), (2, 40)]), NONE);
        // At their ends they hold nothing back.
        assert_eq!(splits(&mut operator, &[0, 1, 2]), [20]);
        assert_eq!(splits(&mut operator, &[1]), [30]);
    }

    /// Looks every half a second for so long, beginning `from` milliseconds from now; what was said.
    fn ticks(operator: &mut Watermark, from: i64, millis: i64) -> Vec<i64> {
        let mut out = Vec::new();
        for passed in (0..=millis).step_by(500) {
            operator.tick(now_millis() + from + passed, &mut out).unwrap();
        }
        watermarks(out)
    }

    #[test]
    fn what_gives_no_rows_for_long_is_idle() {
        let mut operator = operator(Duration::from_secs(60));
        assert_eq!(splits(&mut operator, &[0, 1]), NONE);
        assert_eq!(rows(&mut operator, &[(0, 10)]), NONE);
        operator.splits.get_mut(&1).unwrap().last_row -= 90_000;
        assert_eq!(ticks(&mut operator, 0, 30_000), [10]);
        assert_eq!(ticks(&mut operator, 30_000, 60_000), [-1]);
        assert_eq!(rows(&mut operator, &[(1, 20)]), NONE);
        assert_eq!(ticks(&mut operator, 0, 0), NONE);
    }

    #[test]
    fn who_waits_because_of_others_is_not_idle() {
        let mut operator = operator(Duration::from_secs(60));
        assert_eq!(splits(&mut operator, &[0, 1]), NONE);
        assert_eq!(rows(&mut operator, &[(0, 10)]), NONE);
        // A sink that takes nothing for long; then an operator of the chain that works for long.
        operator.held_up(3_600_000);
        assert_eq!(ticks(&mut operator, 3_600_000, 30_000), NONE);
        assert_eq!(ticks(&mut operator, 7_200_000, 20_000), NONE);
        assert_eq!(rows(&mut operator, &[(1, 5)]), [5]);
        assert_eq!(rows(&mut operator, &[(0, 11), (1, 6)]), [6]);
    }

    #[test]
    fn a_source_that_names_no_splits_is_one_stream() {
        let mut operator = operator(Duration::ZERO);
        assert_eq!(rows(&mut operator, &[(0, 10), (1, 5), (1, 7)]), [10]);
    }
}
