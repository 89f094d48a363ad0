//! COUNT(*) and COUNT(x).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::datatypes::Int64Type;
use millrace_core::Result;
use millrace_core::memory::widen;

use super::accumulator::{Accumulator, Input, Trace, stored, takes};
use super::maps::Maps;
use crate::{DataType, Field, TypeKind};

#[derive(Default)]
pub struct Count {
    counts: Vec<i64>,
}

impl Count {
    fn rows(&mut self, input: &Input<'_>, mut at: impl FnMut(i64, i64)) {
        let nulls = input.arg.and_then(|arg| arg.nulls());
        for (row, slot) in input.slots.iter().enumerate() {
            let count = &mut self.counts[*slot as usize];
            if input.first.is_some_and(|first| first[row]) {
                *count = 0;
            }
            let before = *count;
            if takes(input.pass, nulls, row) {
                match input.retract.is_some_and(|retract| retract[row]) {
                    false => *count += 1,
                    true => *count -= 1,
                }
            }
            at(before, *count);
        }
    }

    fn shown(&self, slots: &[u32]) -> ArrayRef {
        let counts = slots.iter().map(|slot| self.get(*slot));
        Arc::new(Int64Array::from_iter_values(counts))
    }

    /// The count of one group.
    pub fn get(&self, slot: u32) -> i64 {
        self.counts[slot as usize]
    }
}

impl Accumulator for Count {
    fn fields(&self) -> Vec<Field> {
        vec![Field::new("count", DataType::not_null(TypeKind::BigInt))]
    }

    fn slot_bytes(&self) -> usize {
        size_of::<i64>()
    }

    fn resize(&mut self, width: usize) {
        widen(&mut self.counts, width, 0);
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            self.counts[*slot as usize] = 0;
        }
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (slot, count) in slots.iter().zip(stored::<Int64Type>(columns, 0)?.values()) {
            self.counts[*slot as usize] = *count;
        }
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (slot, count) in slots.iter().zip(stored::<Int64Type>(columns, 0)?.values()) {
            self.counts[*slot as usize] += count;
        }
        Ok(())
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.shown(slots)])
    }

    fn update(&mut self, input: &Input<'_>, _: &mut dyn Maps) -> Result<()> {
        self.rows(input, |_, _| {});
        Ok(())
    }

    fn trace(&mut self, input: &Input<'_>, _: &mut dyn Maps) -> Result<Trace> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        before.reserve(input.slots.len());
        after.reserve(input.slots.len());
        self.rows(input, |b, a| {
            before.push(b);
            after.push(a);
        });
        Ok(Trace {
            before: Arc::new(Int64Array::from(before)),
            after: Arc::new(Int64Array::from(after)),
        })
    }

    fn values(&self, slots: &[u32], _: &mut dyn Maps) -> Result<ArrayRef> {
        Ok(self.shown(slots))
    }
}
