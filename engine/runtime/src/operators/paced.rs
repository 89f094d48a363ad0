//! Operators whose rows wait for a time, and of which a watermark may set free a great many: results go
//! out a batch at a time, as there is room for them, and nothing else is taken in meanwhile.

use std::collections::VecDeque;

use millrace_core::Result;

use super::{BATCH, Operator, now_millis, rows_of};
use crate::element::{Batch, Element};
use crate::windows::Windows;

pub trait Timely: Send {
    /// A batch whose rows are taken in one after the other.
    type Arriving: Send;

    /// By what its rows are over.
    fn windows(&self) -> &Windows;

    /// The watermark that it has come to.
    fn progress(&self) -> i64;

    fn begin(&mut self, input: usize, batch: Batch) -> Result<Self::Arriving>;

    /// Takes rows in. Where what is over has to be given before the next of them, that is taken later: the
    /// rest, and the watermark before it.
    fn arrive(&mut self, arriving: Self::Arriving) -> Result<Option<(Self::Arriving, i64)>>;

    /// Gives some of what is over with `to`; whether there is more.
    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<bool>;

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>>;
}

pub struct Paced<T: Timely> {
    work: T,
    /// What has begun.
    steps: VecDeque<Step<T::Arriving>>,
    /// The watermark that was sent last.
    sent: i64,
}

enum Step<A> {
    Rows(A),
    /// To a watermark, or a time by the clock, from a watermark; that is known when it begins.
    Advance(i64, Option<i64>),
    Send(Element),
}

impl<T: Timely> Paced<T> {
    pub(super) fn new(work: T) -> Self {
        Paced {
            work,
            steps: VecDeque::new(),
            sent: i64::MIN,
        }
    }

    /// Goes on until all is done or there is a batch to be sent.
    fn run(&mut self, out: &mut Vec<Element>) -> Result<()> {
        while rows_of(out) < BATCH
            && let Some(step) = self.steps.pop_front()
        {
            match step {
                Step::Send(element) => self.send(element, out),
                Step::Advance(to, from) => {
                    let from = from.unwrap_or_else(|| self.work.progress());
                    let mut given = Vec::new();
                    let is_more = self.work.advance(to, &mut given)?;
                    // Who comes after it sees the watermark that went before, what is given, and what ended that.
                    if !given.is_empty() && from > self.sent && !self.work.windows().is_proctime() {
                        self.send(Element::Watermark(from), out);
                    }
                    out.append(&mut given);
                    if is_more {
                        self.steps.push_front(Step::Advance(to, Some(from)));
                    }
                }
                Step::Rows(arriving) => {
                    if let Some((rest, to)) = self.work.arrive(arriving)? {
                        self.steps.push_front(Step::Rows(rest));
                        self.steps.push_front(Step::Send(Element::Watermark(to)));
                        self.steps.push_front(Step::Advance(to, None));
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, element: Element, out: &mut Vec<Element>) {
        if let Element::Watermark(watermark) = element {
            self.sent = self.sent.max(watermark);
        }
        out.push(element);
    }

    fn clock(&mut self, now_millis: i64) {
        if let Some(time) = self.work.windows().over_by_clock(now_millis) {
            self.steps.push_back(Step::Advance(time, None));
        }
    }
}

impl<T: Timely> Operator for Paced<T> {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        // What is over by the clock is given first: rows are windowed by a later time.
        self.clock(now_millis());
        self.run(out)?;
        let arriving = self.work.begin(input, batch)?;
        self.steps.push_back(Step::Rows(arriving));
        self.run(out)
    }

    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> Result<()> {
        if let Some(time) = self.work.windows().over_with(&element) {
            self.steps.push_back(Step::Advance(time, None));
        }
        self.steps.push_back(Step::Send(element));
        self.run(out)
    }

    fn tick(&mut self, now_millis: i64, out: &mut Vec<Element>) -> Result<()> {
        self.clock(now_millis);
        self.run(out)
    }

    fn has_more(&self) -> bool {
        !self.steps.is_empty()
    }

    fn resume(&mut self, out: &mut Vec<Element>) -> Result<()> {
        self.run(out)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.work.snapshot()
    }
}
