//! A row whose key has more rows on the other side than memory has room for: it meets them piece by piece, as they
//! are read.

use millrace_core::Result;

use super::{Arriving, Join, Record, Round};
use crate::changes::accumulates;

/// What is left to be done of a row.
pub(super) struct Piecewise {
    slots: (u32, u32),
    stage: Stage,
}

enum Stage {
    /// Its own side does not know of it.
    Begin,
    /// It meets those from an entry on, in one of its passes over all of them.
    Meet(usize, Vec<u8>),
    Done,
}

impl Piecewise {
    pub fn new(slots: (u32, u32)) -> Self {
        Piecewise {
            slots,
            stage: Stage::Begin,
        }
    }
}

impl Join {
    /// Does more of a row; whether there is more to be done.
    pub(super) fn go_on(&mut self, batch: &mut Arriving, round: &mut Round) -> Result<bool> {
        let Some(mut work) = round.piecewise.take() else {
            return Ok(false);
        };
        work.stage = match work.stage {
            Stage::Begin => {
                batch.next += 1;
                let partners = match self.counts_first(batch.is_left) {
                    true => self.count(batch, work.slots.1)?,
                    false => 0,
                };
                let at = batch.at(batch.next - 1, work.slots);
                self.come(batch.is_left, &at, partners, &mut round.gives)?;
                match self.only_asks(batch.is_left) {
                    true => Stage::Done,
                    false => Stage::Meet(0, Vec::new()),
                }
            }
            Stage::Meet(number, from) => {
                let at = batch.at(batch.next - 1, work.slots);
                let passes = self.passes(batch.is_left, accumulates(at.kind));
                let Some(pass) = passes.get(number) else {
                    return Ok(false);
                };
                let mut records = Vec::new();
                let next = self
                    .other(batch.is_left)
                    .some_records(work.slots.1, &from, &mut records)?;
                let met = self.passing(batch, &records)?;
                self.pass(*pass, batch.is_left, &at, &mut records, &met, &mut round.gives)?;
                round.records = records;
                match next {
                    Some(next) => Stage::Meet(number, next),
                    None => Stage::Meet(number + 1, Vec::new()),
                }
            }
            Stage::Done => return Ok(false),
        };
        round.piecewise = Some(work);
        Ok(true)
    }

    /// Whether what a row gives depends on how many it meets in all.
    fn counts_first(&self, is_left: bool) -> bool {
        self.only_asks(is_left)
            || match is_left {
                true => self.kind.keeps_left(),
                false => self.kind.keeps_right(),
            }
    }

    /// How many the row meets that is at work.
    fn count(&self, batch: &Arriving, slot: u32) -> Result<i64> {
        let (mut partners, mut from) = (0, Some(Vec::new()));
        while let Some(start) = from {
            let mut records = Vec::new();
            from = self
                .other(batch.is_left)
                .some_records(slot, &start, &mut records)?;
            let met = self.passing(batch, &records)?;
            partners += met.iter().map(|i| records[*i].times).sum::<i64>();
        }
        Ok(partners)
    }

    /// Those of some rows of the other side that the row at work meets.
    fn passing(&self, batch: &Arriving, records: &[Record]) -> Result<Vec<usize>> {
        let mut met = vec![(0..records.len()).collect()];
        if let Some(condition) = &self.condition {
            self.retain(condition, batch, batch.next - 1, records, &mut met)?;
        }
        Ok(met.pop().unwrap_or_default())
    }
}
