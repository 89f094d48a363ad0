//! Functions that hold on to one value of a group whose rows are not taken back: FIRST_VALUE,
//! LAST_VALUE, MIN and MAX of texts and truth values; and SINGLE_VALUE, which takes no second row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use arrow::datatypes::Int32Type;
use millrace_core::memory::widen;
use millrace_core::{Error, Result};

use super::accumulator::{Accumulator, stored};
use super::encoded::{Encoded, NULL, OverBytes, Values};
use super::maps::Maps;
use crate::{DataType, Field, TypeKind};

/// Which value is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    First,
    Last,
    Smallest,
    Largest,
}

pub fn accumulator(arg: &DataType, choice: Choice) -> Result<Box<dyn Accumulator>> {
    let held = Held {
        choice,
        values: Values::new(arg)?,
    };
    let result = arg.clone().with_nullable(true);
    Ok(Box::new(OverBytes::new(held, arg, &result)?))
}

struct Held {
    choice: Choice,
    values: Values,
}

impl Encoded for Held {
    fn fields(&self) -> Vec<Field> {
        vec![self.values.field("value")]
    }

    fn slot_bytes(&self) -> usize {
        self.values.slot_bytes()
    }

    fn held_bytes(&self) -> usize {
        self.values.held_bytes()
    }

    fn release(&mut self, slot: u32) {
        self.values.release(slot);
    }

    fn resize(&mut self, width: usize) {
        self.values.resize(width);
    }

    fn reset(&mut self, slot: u32) {
        self.values.clear(slot);
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.values.load(slots, columns.first())
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.values.store(slots)?])
    }

    fn merges(&self) -> bool {
        // Between subtasks there is no first and no last.
        matches!(self.choice, Choice::Smallest | Choice::Largest)
    }

    fn merge(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Option<Result<()>> {
        let rows = match self.values.read(columns.first()) {
            Ok(rows) => rows,
            Err(e) => return Some(Err(e)),
        };
        for (slot, value) in slots.iter().zip(rows.iter()) {
            if value != [NULL] {
                self.take(*slot, value);
            }
        }
        Some(Ok(()))
    }

    fn accumulate(&mut self, slot: u32, value: &[u8], _: &mut dyn Maps) -> Result<()> {
        self.take(slot, value);
        Ok(())
    }

    fn retract(&mut self, _: u32, _: &[u8], _: &mut dyn Maps) -> Result<()> {
        Err(Error::internal(
            "an aggregate function was planned over inserts and meets other rows",
        ))
    }

    fn result(&self, slot: u32, _: &mut dyn Maps, out: &mut Vec<u8>) -> Result<()> {
        self.values.write(slot, out);
        Ok(())
    }
}

impl Held {
    fn take(&mut self, slot: u32, value: &[u8]) {
        let held = self.values.get(slot);
        let better = held.is_empty()
            || match self.choice {
                Choice::First => false,
                Choice::Last => true,
                Choice::Smallest => value < held,
                Choice::Largest => value > held,
            };
        if better {
            self.values.set(slot, value);
        }
    }
}

pub fn single(arg: &DataType) -> Result<Box<dyn Accumulator>> {
    let single = Single {
        values: Values::new(arg)?,
        counts: Vec::new(),
    };
    let result = arg.clone().with_nullable(true);
    Ok(Box::new(OverBytes::new(single, arg, &result)?))
}

struct Single {
    values: Values,
    counts: Vec<i32>,
}

impl Encoded for Single {
    fn fields(&self) -> Vec<Field> {
        vec![
            self.values.field("value"),
            Field::new("count", DataType::not_null(TypeKind::Int)),
        ]
    }

    fn slot_bytes(&self) -> usize {
        self.values.slot_bytes() + size_of::<i32>()
    }

    fn held_bytes(&self) -> usize {
        self.values.held_bytes()
    }

    fn release(&mut self, slot: u32) {
        self.values.release(slot);
    }

    fn resize(&mut self, width: usize) {
        self.values.resize(width);
        widen(&mut self.counts, width, 0);
    }

    fn reset(&mut self, slot: u32) {
        self.values.clear(slot);
        self.counts[slot as usize] = 0;
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.values.load(slots, columns.first())?;
        for (slot, count) in slots.iter().zip(stored::<Int32Type>(columns, 1)?.values()) {
            self.counts[*slot as usize] = *count;
        }
        Ok(())
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let counts = slots.iter().map(|slot| self.counts[*slot as usize]);
        Ok(vec![
            self.values.store(slots)?,
            Arc::new(Int32Array::from_iter_values(counts)),
        ])
    }

    fn takes_nulls(&self) -> bool {
        true
    }

    fn accumulate(&mut self, slot: u32, value: &[u8], _: &mut dyn Maps) -> Result<()> {
        if self.counts[slot as usize] > 0 {
            return Err(more_than_one());
        }
        self.counts[slot as usize] += 1;
        self.values.set(slot, value);
        Ok(())
    }

    fn retract(&mut self, slot: u32, _: &[u8], _: &mut dyn Maps) -> Result<()> {
        let count = &mut self.counts[slot as usize];
        if !matches!(*count, 0 | 1) {
            return Err(more_than_one());
        }
        *count -= 1;
        self.values.clear(slot);
        Ok(())
    }

    fn result(&self, slot: u32, _: &mut dyn Maps, out: &mut Vec<u8>) -> Result<()> {
        self.values.write(slot, out);
        Ok(())
    }
}

fn more_than_one() -> Error {
    Error::user("SINGLE_VALUE received more than one element")
        .with_hint("let the subquery give one row, by an aggregate function or a condition on its key")
}
