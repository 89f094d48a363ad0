//! LAG: the value of so many rows before. A key keeps its last values, as one row of state each.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray};
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result};
use millrace_dataflow::OverCall;
use millrace_expr::aggregate::{Accumulator, Input, Trace};
use millrace_expr::{DataType, Field};

pub(super) struct Lag {
    /// Values that are kept: the row's own, and those before it.
    kept: usize,
    codec: RowCodec,
    /// A NULL, encoded.
    null: Box<[u8]>,
    /// Of each slot, the oldest first.
    values: Vec<VecDeque<Box<[u8]>>>,
}

impl Lag {
    pub fn boxed(offset: u64, call: &OverCall) -> Result<Box<dyn Accumulator>> {
        let codec = RowCodec::new([call.data_type.to_arrow()])?;
        let mut null = Rows::default();
        let none = arrow::array::new_null_array(&call.data_type.to_arrow(), 1);
        codec.encode(&[none], &mut null)?;
        Ok(Box::new(Lag {
            kept: offset as usize + 1,
            codec,
            null: null.get(0).into(),
            values: Vec::new(),
        }))
    }

    fn result(&self, slot: u32) -> &[u8] {
        let values = &self.values[slot as usize];
        match values.front() {
            Some(oldest) if values.len() == self.kept => oldest,
            _ => &self.null,
        }
    }

    /// Takes a value in for each row; `at` sees the result before it, and the one after.
    fn rows(&mut self, input: &Input<'_>, mut at: impl FnMut(&[u8], bool)) -> Result<()> {
        let arg = input.arg.ok_or_else(|| Error::internal("LAG has no argument"))?;
        let mut encoded = Rows::default();
        self.codec.encode(std::slice::from_ref(arg), &mut encoded)?;
        for (row, slot) in input.slots.iter().enumerate() {
            if input.retract.is_some_and(|retract| retract[row]) {
                return Err(Error::internal("LAG takes no row back"));
            }
            let values = &mut self.values[*slot as usize];
            if input.first.is_some_and(|first| first[row]) {
                values.clear();
            }
            at(self.result(*slot), false);
            let values = &mut self.values[*slot as usize];
            values.push_back(encoded.get(row).into());
            if values.len() > self.kept {
                values.pop_front();
            }
            at(self.result(*slot), true);
        }
        Ok(())
    }

    fn decoded(&self, rows: &Rows) -> Result<ArrayRef> {
        let mut columns = self.codec.decode(rows.iter())?;
        columns.pop().ok_or_else(|| Error::internal("LAG has no result"))
    }
}

fn push(rows: &mut Rows, row: &[u8]) {
    rows.data.extend_from_slice(row);
    rows.ends.push(rows.data.len());
}

impl Accumulator for Lag {
    fn fields(&self) -> Vec<Field> {
        vec![Field::new("values", DataType::bytes().with_nullable(false))]
    }

    fn slot_bytes(&self) -> usize {
        size_of::<VecDeque<Box<[u8]>>>() + self.kept * (size_of::<Box<[u8]>>() + 16)
    }

    fn resize(&mut self, width: usize) {
        self.values.resize_with(width, VecDeque::new);
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.values[*slot as usize].clear());
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let damaged = || Error::data_loss("the stored values of LAG have another form");
        let stored = columns.first().and_then(|column| column.as_binary_opt::<i32>());
        let stored = stored.ok_or_else(damaged)?;
        for (slot, mut bytes) in slots.iter().zip(stored.iter().map(Option::unwrap_or_default)) {
            let values = &mut self.values[*slot as usize];
            values.clear();
            while !bytes.is_empty() {
                let (length, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
                let length = u32::from_be_bytes(*length) as usize;
                let (value, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
                values.push_back(value.into());
                bytes = rest;
            }
        }
        Ok(())
    }

    fn merge(&mut self, _: &[u32], _: &[ArrayRef]) -> Result<()> {
        Err(Error::internal("LAG has nothing to merge"))
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let stored = slots.iter().map(|slot| {
            let values = self.values[*slot as usize].iter();
            values
                .flat_map(|value| [&(value.len() as u32).to_be_bytes()[..], value].concat())
                .collect::<Vec<u8>>()
        });
        Ok(vec![Arc::new(BinaryArray::from_iter_values(stored))])
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.rows(input, |_, _| {})
    }

    fn trace(&mut self, input: &Input<'_>) -> Result<Trace> {
        let (mut before, mut after) = (Rows::default(), Rows::default());
        self.rows(input, |result, is_after| {
            push(if is_after { &mut after } else { &mut before }, result);
        })?;
        Ok(Trace {
            before: self.decoded(&before)?,
            after: self.decoded(&after)?,
        })
    }

    fn values(&self, slots: &[u32]) -> Result<ArrayRef> {
        let mut rows = Rows::default();
        slots.iter().for_each(|slot| push(&mut rows, self.result(*slot)));
        self.decoded(&rows)
    }
}
