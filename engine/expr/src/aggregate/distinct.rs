//! DISTINCT: which rows bring a value that their group has not had, or take its last one away. Calls
//! over the same argument share one map, value to what each of them has of it, as in Flink: without
//! retractions a bit that it was there, with them how often.

use arrow::array::ArrayRef;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result};

use super::accumulator::Input;
use super::encoded::decode;
use super::maps::{Entries, Maps, View, entry};
use crate::DataType;

pub(super) struct Distinct {
    view: View,
    codec: RowCodec,
    /// Calls that share it.
    calls: usize,
    retracts: bool,
    values: Rows,
    buffer: Vec<u8>,
}

impl Distinct {
    pub fn new(arg: &DataType, calls: usize, retracts: bool, view: View) -> Result<Self> {
        Ok(Distinct {
            view,
            codec: RowCodec::new([arg.to_arrow()])?,
            calls,
            retracts,
            values: Rows::default(),
            buffer: Vec::new(),
        })
    }

    /// The rows that count for each of the calls, out of those that pass their filters. `input.pass` is
    /// of rows that count at all.
    pub fn pass(
        &mut self,
        arg: &ArrayRef,
        input: &Input<'_>,
        filters: &[Option<&[bool]>],
        maps: &mut dyn Maps,
    ) -> Result<Vec<Vec<bool>>> {
        self.values.clear();
        self.codec.encode(std::slice::from_ref(arg), &mut self.values)?;
        let rows = input.slots.len();
        let passes = |call: usize, row: usize| filters[call].is_none_or(|filter| filter[row]);
        let counts = |row: usize| {
            input.pass.is_none_or(|pass| pass[row]) && (0..self.calls).any(|call| passes(call, row))
        };
        let wanted = (0..rows).filter(|row| counts(*row));
        maps.prefetch(
            &self.view,
            &mut wanted.map(|row| (input.slots[row], self.values.get(row))),
        )?;
        let mut out = vec![vec![false; rows]; self.calls];
        let mut known = Vec::new();
        for row in 0..rows {
            let slot = input.slots[row];
            if input.first.is_some_and(|first| first[row]) {
                maps.clear(slot, &self.view)?;
            }
            if !counts(row) {
                continue;
            }
            let at = entry(&mut self.buffer, &self.view, self.values.get(row));
            known.clear();
            known.extend_from_slice(maps.get(slot, at)?.unwrap_or_default());
            let mut changed = false;
            for (call, out) in out.iter_mut().enumerate() {
                if !passes(call, row) {
                    continue;
                }
                match self.retracts {
                    false => out[row] = set_bit(&mut known, self.calls, call)?,
                    true => {
                        let back = input.retract.is_some_and(|retract| retract[row]);
                        let count = count(&mut known, self.calls, call, if back { -1 } else { 1 })?;
                        out[row] = count == i64::from(!back);
                    }
                }
                changed |= self.retracts || out[row];
            }
            if !changed {
                continue;
            }
            match known.iter().all(|byte| *byte == 0) {
                true => maps.remove(slot, at),
                false => maps.put(slot, at, &known),
            }
        }
        Ok(out)
    }
}

/// Values that slots got out of other slots' maps, for the calls that share them.
pub(super) struct Absorbed {
    pub slots: Vec<u32>,
    pub values: ArrayRef,
    /// For each call, which of them count, and which of those are taken away.
    pub calls: Vec<(Vec<bool>, Vec<bool>)>,
}

impl Distinct {
    /// Adds the maps of other slots to those of slots, and gives what makes a difference.
    pub fn absorb(&mut self, slots: &[u32], entries: &[Entries], maps: &mut dyn Maps) -> Result<Absorbed> {
        self.values.clear();
        let (mut targets, mut stored) = (Vec::new(), Vec::new());
        for (slot, entries) in slots.iter().zip(entries) {
            for (value, known) in entries.of_view(self.view) {
                targets.push(*slot);
                self.values.push(value);
                stored.push(known.to_vec());
            }
        }
        let values = decode(&self.codec, &self.values)?;
        let mut wanted = targets.iter().copied().zip(self.values.iter());
        maps.prefetch(&self.view, &mut wanted)?;
        let mut calls = vec![(vec![false; targets.len()], vec![false; targets.len()]); self.calls];
        for (row, (slot, mut other)) in targets.iter().zip(stored).enumerate() {
            let at = entry(&mut self.buffer, &self.view, self.values.get(row));
            let mut known = maps.get(*slot, at)?.unwrap_or_default().to_vec();
            for (call, (counts, back)) in calls.iter_mut().enumerate() {
                match self.retracts {
                    false => {
                        let has = !set_bit(&mut other, self.calls, call)?;
                        counts[row] = has && set_bit(&mut known, self.calls, call)?;
                    }
                    true => {
                        let by = count(&mut other, self.calls, call, 0)?;
                        let after = count(&mut known, self.calls, call, by)?;
                        let (was, is) = (after - by > 0, after > 0);
                        counts[row] = was != is;
                        back[row] = was;
                    }
                }
            }
            match known.iter().all(|byte| *byte == 0) {
                true => maps.remove(*slot, at),
                false => maps.put(*slot, at, &known),
            }
        }
        Ok(Absorbed {
            slots: targets,
            values,
            calls,
        })
    }
}

/// Sets a call's bit; whether it was not set.
fn set_bit(bits: &mut Vec<u8>, calls: usize, call: usize) -> Result<bool> {
    sized(bits, calls.div_ceil(8))?;
    let (byte, mask) = (&mut bits[call / 8], 1 << (call % 8));
    let is_new = *byte & mask == 0;
    *byte |= mask;
    Ok(is_new)
}

/// Changes a call's count and gives the new one.
fn count(counts: &mut Vec<u8>, calls: usize, call: usize, by: i64) -> Result<i64> {
    sized(counts, calls * size_of::<i64>())?;
    let at = call * size_of::<i64>()..(call + 1) * size_of::<i64>();
    let known = <[u8; 8]>::try_from(&counts[at.clone()]).map_err(|_| damaged())?;
    let count = i64::from_be_bytes(known) + by;
    counts[at].copy_from_slice(&count.to_be_bytes());
    Ok(count)
}

/// What is not there yet is all zeros.
fn sized(bytes: &mut Vec<u8>, length: usize) -> Result<()> {
    if bytes.is_empty() {
        bytes.resize(length, 0);
    }
    match bytes.len() == length {
        true => Ok(()),
        false => Err(damaged()),
    }
}

fn damaged() -> Error {
    Error::data_loss("the stored values of a DISTINCT have another form")
        .with_hint("the query has changed: start it without the old state")
}
