//! Operators of which a row or a watermark may set free a great many: what they give goes out a batch at a time,
//! as there is room for it, and nothing else is taken in meanwhile.

use std::collections::VecDeque;

use millrace_core::Result;
use millrace_state::keyed::Clock;

use super::{Operator, are_enough};
use crate::element::{Batch, Element};
use crate::windows::Windows;

/// What is done a step at a time.
pub trait Gradual: Send {
    /// A batch whose rows are taken in one after the other.
    type Arriving: Send;

    /// The time up to which something is due, where the clock says so.
    fn due_by_clock(&self, _now_millis: i64) -> Option<i64> {
        None
    }

    /// The time up to which something is due with an element that is no batch.
    fn due_with(&mut self, _element: &Element) -> Option<i64> {
        None
    }

    /// As an element goes on that is no batch, behind what is due with it.
    fn passing(&self, element: Element) -> Element {
        element
    }

    /// `now_millis` is what the clock shows: later than all that was due by it before.
    fn begin(&mut self, input: usize, batch: Batch, now_millis: i64) -> Result<Self::Arriving>;

    /// Takes rows in, until there is a batch to be sent.
    fn arrive(&mut self, arriving: Self::Arriving, out: &mut Vec<Element>) -> Result<Rest<Self::Arriving>>;

    /// Gives some of what is due at `to`; whether there is more.
    fn advance(&mut self, _to: i64, _out: &mut Vec<Element>) -> Result<bool> {
        Ok(false)
    }

    /// The watermark with which all was given that was due, where what comes next does not say it row by row.
    fn progress(&self) -> Option<i64> {
        None
    }

    /// Looks at the clock, when all that it has set free is given.
    fn look_at_clock(&mut self, _now_millis: i64, _out: &mut Vec<Element>) -> Result<()> {
        Ok(())
    }

    /// Whether what is gathered and not in `out` yet is enough for a batch.
    fn is_full(&self) -> bool {
        false
    }

    /// Puts what is gathered into `out`.
    fn settle(&mut self, _out: &mut Vec<Element>) -> Result<()> {
        Ok(())
    }

    /// See `Operator::fired_timers`.
    fn fired_timers(&self) -> u64 {
        0
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>>;
}

/// What is left of a batch.
pub enum Rest<A> {
    Nothing,
    /// Something has to be sent first.
    Later(A),
    /// What is due at a time has to be given before the next row.
    After(i64, A),
}

/// Operators whose rows wait until windows are over.
pub trait Timely: Send {
    /// A batch whose rows are taken in one after the other.
    type Arriving: Send;

    /// By what its rows are over.
    fn windows(&self) -> &Windows;

    /// The watermark that it has come to.
    fn progress(&self) -> i64;

    /// `now_millis` is what the clock shows: later than all that was due by it before.
    fn begin(&mut self, input: usize, batch: Batch, now_millis: i64) -> Result<Self::Arriving>;

    /// Takes rows in. Where what is over has to be given before the next of them, that is taken later: the
    /// rest, and the watermark before it.
    fn arrive(&mut self, arriving: Self::Arriving) -> Result<Option<(Self::Arriving, i64)>>;

    /// Gives some of what is over with `to`; whether there is more.
    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<bool>;

    /// See `Operator::fired_timers`.
    fn fired_timers(&self) -> u64 {
        0
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>>;
}

impl<T: Timely> Gradual for T {
    type Arriving = T::Arriving;

    fn due_by_clock(&self, now_millis: i64) -> Option<i64> {
        self.windows().over_by_clock(now_millis)
    }

    fn due_with(&mut self, element: &Element) -> Option<i64> {
        self.windows().over_with(element)
    }

    fn begin(&mut self, input: usize, batch: Batch, now_millis: i64) -> Result<T::Arriving> {
        Timely::begin(self, input, batch, now_millis)
    }

    fn arrive(&mut self, arriving: T::Arriving, _: &mut Vec<Element>) -> Result<Rest<T::Arriving>> {
        Ok(match Timely::arrive(self, arriving)? {
            None => Rest::Nothing,
            Some((rest, to)) => Rest::After(to, rest),
        })
    }

    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<bool> {
        Timely::advance(self, to, out)
    }

    fn progress(&self) -> Option<i64> {
        (!self.windows().is_proctime()).then(|| Timely::progress(self))
    }

    fn fired_timers(&self) -> u64 {
        Timely::fired_timers(self)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        Timely::snapshot(self)
    }
}

pub struct Paced<T: Gradual> {
    pub(super) work: T,
    /// What has begun.
    steps: VecDeque<Step<T::Arriving>>,
    /// The watermark that was sent last.
    sent: i64,
    clock: Clock,
    /// The latest that the clock has shown. It may be set back: what was over by it stays over, and no row comes
    /// too late for that.
    latest: i64,
}

enum Step<A> {
    Rows(A),
    /// To a watermark, or a time by the clock, from a watermark; that is known when it begins.
    Advance(i64, Option<i64>),
    Clock(i64),
    Send(Element),
}

impl<T: Gradual> Paced<T> {
    pub(super) fn new(clock: Clock, work: T) -> Self {
        Paced {
            work,
            steps: VecDeque::new(),
            sent: i64::MIN,
            clock,
            latest: i64::MIN,
        }
    }

    /// It is not earlier than that, whatever the clock shows.
    pub(super) fn not_before(mut self, millis: i64) -> Self {
        self.latest = self.latest.max(millis);
        self
    }

    /// Goes on until all is done or there is a batch to be sent.
    fn run(&mut self, out: &mut Vec<Element>) -> Result<()> {
        while !are_enough(out)
            && !self.work.is_full()
            && let Some(step) = self.steps.pop_front()
        {
            match step {
                Step::Send(element) => {
                    self.work.settle(out)?;
                    self.send(element, out);
                }
                Step::Advance(to, from) => {
                    let from = from.or_else(|| self.work.progress());
                    let mut given = Vec::new();
                    let is_more = self.work.advance(to, &mut given)?;
                    // Who comes after it sees the watermark that went before, what is given, and what ended that.
                    if let Some(from) = from
                        && !given.is_empty()
                        && from > self.sent
                    {
                        self.send(Element::Watermark(from), out);
                    }
                    out.append(&mut given);
                    if is_more {
                        self.steps.push_front(Step::Advance(to, from));
                    }
                }
                Step::Clock(now) => self.work.look_at_clock(now, out)?,
                Step::Rows(arriving) => match self.work.arrive(arriving, out)? {
                    Rest::Nothing => {}
                    Rest::Later(rest) => self.steps.push_front(Step::Rows(rest)),
                    Rest::After(to, rest) => {
                        self.steps.push_front(Step::Rows(rest));
                        self.steps.push_front(Step::Send(Element::Watermark(to)));
                        self.steps.push_front(Step::Advance(to, None));
                    }
                },
            }
        }
        self.work.settle(out)
    }

    fn send(&mut self, element: Element, out: &mut Vec<Element>) {
        if let Element::Watermark(watermark) = element {
            self.sent = self.sent.max(watermark);
        }
        out.push(element);
    }

    /// The time, now that the clock shows this, with which begins what is due.
    fn look_at_clock(&mut self, now_millis: i64) -> i64 {
        self.latest = self.latest.max(now_millis);
        if let Some(time) = self.work.due_by_clock(self.latest) {
            self.steps.push_back(Step::Advance(time, None));
        }
        self.latest
    }
}

impl<T: Gradual> Operator for Paced<T> {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        // What is over by the clock is given first: rows are windowed by a later time.
        let now_millis = self.look_at_clock(self.clock.now_millis());
        self.run(out)?;
        let arriving = self.work.begin(input, batch, now_millis)?;
        self.steps.push_back(Step::Rows(arriving));
        self.run(out)
    }

    fn other(&mut self, element: Element, out: &mut Vec<Element>) -> Result<()> {
        // What is over by now is given, and nothing looks at the clock behind it.
        if matches!(element, Element::EndOfInput) {
            self.look_at_clock(self.clock.now_millis());
        }
        if let Some(time) = self.work.due_with(&element) {
            self.steps.push_back(Step::Advance(time, None));
        }
        self.steps.push_back(Step::Send(self.work.passing(element)));
        self.run(out)
    }

    fn tick(&mut self, now_millis: i64, out: &mut Vec<Element>) -> Result<()> {
        let now_millis = self.look_at_clock(now_millis);
        self.steps.push_back(Step::Clock(now_millis));
        self.run(out)
    }

    fn has_more(&self) -> bool {
        !self.steps.is_empty()
    }

    fn resume(&mut self, out: &mut Vec<Element>) -> Result<()> {
        self.run(out)
    }

    fn fired_timers(&self) -> u64 {
        self.work.fired_timers()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.work.snapshot()
    }
}
