//! LAG: the value of so many rows before, or the row's default. A key keeps its last values.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, new_null_array};
use millrace_core::memory::{allocated, widen_with};
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result};
use millrace_dataflow::OverCall;

pub(super) struct Lag {
    arg: usize,
    default: Option<usize>,
    /// Values that are kept: the row's own, and those before it.
    kept: usize,
    codec: RowCodec,
    /// A NULL, encoded.
    null: Box<[u8]>,
    /// Of each slot, the oldest first.
    values: Vec<VecDeque<Box<[u8]>>>,
    /// What they take on the heap.
    held_bytes: usize,
}

/// Of a value in its queue.
fn bytes_of(value: &[u8]) -> usize {
    2 * size_of::<Box<[u8]>>() + allocated(value.len())
}

impl Lag {
    pub fn new(offset: u64, call: &OverCall) -> Result<Self> {
        let data_type = call.data_type.to_arrow();
        let codec = RowCodec::new([data_type.clone()])?;
        let mut null = Rows::default();
        codec.encode(&[new_null_array(&data_type, 1)], &mut null)?;
        Ok(Lag {
            arg: call.arg.ok_or_else(|| Error::internal("LAG has no argument"))?,
            default: call.default,
            kept: (offset as usize).saturating_add(1),
            codec,
            null: null.get(0).into(),
            values: Vec::new(),
            held_bytes: 0,
        })
    }

    pub fn slot_bytes(&self) -> usize {
        size_of::<VecDeque<Box<[u8]>>>()
    }

    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub fn resize(&mut self, width: usize) {
        // Those above are nobody's, and were reset.
        widen_with(&mut self.values, width, VecDeque::new);
    }

    pub fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            let gone = std::mem::take(&mut self.values[*slot as usize]);
            self.held_bytes -= gone.iter().map(|value| bytes_of(value)).sum::<usize>();
        }
    }

    /// Appends the values of a slot: their number, and each with its length before it.
    pub fn store(&self, slot: u32, out: &mut Vec<u8>) {
        let values = &self.values[slot as usize];
        out.extend_from_slice(&(values.len() as u32).to_be_bytes());
        for value in values {
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
    }

    /// Sets the values of a slot from the beginning of stored bytes; the rest of them.
    pub fn load<'a>(&mut self, slot: u32, stored: &'a [u8]) -> Option<&'a [u8]> {
        self.reset(&[slot]);
        let values = &mut self.values[slot as usize];
        let (count, mut rest) = stored.split_first_chunk()?;
        for _ in 0..u32::from_be_bytes(*count) {
            let (length, behind) = rest.split_first_chunk()?;
            let (value, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            values.push_back(value.into());
            self.held_bytes += bytes_of(value);
            rest = behind;
        }
        Some(rest)
    }

    /// Takes the rows in; the result at each of them.
    pub fn results(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<ArrayRef> {
        let column = |index: usize| {
            let found = columns.get(index);
            found.ok_or_else(|| Error::internal("LAG reads a column that is not there"))
        };
        let (mut given, mut defaults, mut results) = (Rows::default(), Rows::default(), Rows::default());
        self.codec
            .encode(std::slice::from_ref(column(self.arg)?), &mut given)?;
        if let Some(default) = self.default {
            self.codec
                .encode(std::slice::from_ref(column(default)?), &mut defaults)?;
        }
        for (row, (value, slot)) in given.iter().zip(slots).enumerate() {
            let values = &mut self.values[*slot as usize];
            values.push_back(value.into());
            self.held_bytes += bytes_of(value);
            if values.len() > self.kept
                && let Some(gone) = values.pop_front()
            {
                self.held_bytes -= bytes_of(&gone);
            }
            let result = match values.front() {
                Some(oldest) if values.len() == self.kept => oldest,
                _ if self.default.is_some() => defaults.get(row),
                _ => &self.null,
            };
            results.push(result);
        }
        let mut decoded = self.codec.decode(results.iter())?;
        decoded.pop().ok_or_else(|| Error::internal("LAG has no result"))
    }
}
