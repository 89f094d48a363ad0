//! MIN and MAX of what rows are taken back from: each value's count is kept, sorted by value, so that
//! what comes next is known when the best one goes (Flink's `MinWithRetractAggFunction`).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::Int64Type;
use millrace_core::Result;
use millrace_core::memory::widen;

use super::accumulator::{Accumulator, stored};
use super::encoded::{Encoded, NULL, OverBytes, Values, number, of_view, set_number, stored_number};
use super::maps::{Maps, View};
use crate::{DataType, Field, TypeKind};

pub fn accumulator(arg: &DataType, largest: bool, view: View) -> Result<Box<dyn Accumulator>> {
    let counted = Counted {
        largest,
        view,
        best: Values::new(arg)?,
        sizes: Vec::new(),
        buffer: Vec::new(),
    };
    let result = arg.clone().with_nullable(true);
    Ok(Box::new(OverBytes::new(counted, arg, &result)?))
}

struct Counted {
    largest: bool,
    view: View,
    best: Values,
    /// Values whose count is above 0.
    sizes: Vec<i64>,
    buffer: Vec<u8>,
}

impl Encoded for Counted {
    fn fields(&self) -> Vec<Field> {
        vec![
            self.best.field("value"),
            Field::new("size", DataType::not_null(TypeKind::BigInt)),
        ]
    }

    fn slot_bytes(&self) -> usize {
        self.best.slot_bytes() + size_of::<i64>()
    }

    fn held_bytes(&self) -> usize {
        self.best.held_bytes()
    }

    fn release(&mut self, slot: u32) {
        self.best.release(slot);
    }

    fn resize(&mut self, width: usize) {
        self.best.resize(width);
        widen(&mut self.sizes, width, 0);
    }

    fn reset(&mut self, slot: u32) {
        self.best.clear(slot);
        self.sizes[slot as usize] = 0;
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.best.load(slots, columns.first())?;
        for (slot, size) in slots.iter().zip(stored::<Int64Type>(columns, 1)?.values()) {
            self.sizes[*slot as usize] = *size;
        }
        Ok(())
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let sizes = slots.iter().map(|slot| self.sizes[*slot as usize]);
        Ok(vec![
            self.best.store(slots)?,
            Arc::new(Int64Array::from_iter_values(sizes)),
        ])
    }

    fn view(&self) -> Option<View> {
        Some(self.view)
    }

    fn looks_up(&self, _: bool) -> Option<Vec<u8>> {
        Some(self.view.to_vec())
    }

    fn absorb(&mut self, slot: u32, value: &[u8], count: &[u8], maps: &mut dyn Maps) -> Result<()> {
        // A value is there once for each row that brought it, or lacks for each that took it away.
        let count = stored_number(count)?;
        let at = of_view(&mut self.buffer, &self.view, value);
        let known = number(maps, slot, at)?;
        if count > 1 && known > 0 {
            set_number(maps, slot, at, known + count);
            return Ok(());
        }
        for _ in 0..count {
            self.accumulate(slot, value, maps)?;
        }
        for _ in count..0 {
            self.retract(slot, value, maps)?;
        }
        Ok(())
    }

    fn accumulate(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        let size = &mut self.sizes[slot as usize];
        let best = self.best.get(slot);
        let better = match self.largest {
            true => value > best,
            false => value < best,
        };
        if *size == 0 || better {
            self.best.set(slot, value);
        }
        let at = of_view(&mut self.buffer, &self.view, value);
        let count = number(maps, slot, at)? + 1;
        set_number(maps, slot, at, count);
        // From -1 to 0 it is what was taken back before it came.
        *size += i64::from(count == 1);
        Ok(())
    }

    fn retract(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        let at = of_view(&mut self.buffer, &self.view, value);
        let count = number(maps, slot, at)? - 1;
        set_number(maps, slot, at, count);
        if count != 0 {
            return Ok(());
        }
        let size = &mut self.sizes[slot as usize];
        *size -= 1;
        if *size == 0 {
            self.best.clear(slot);
        } else if value == self.best.get(slot) {
            let next = match self.largest {
                true => maps.last(slot, &self.view)?,
                false => maps.first(slot, &self.view)?,
            };
            match next {
                Some(next) => self.best.set(slot, &next[self.view.len()..]),
                None => self.reset(slot),
            }
        }
        Ok(())
    }

    fn result(&self, slot: u32, _: &mut dyn Maps, out: &mut Vec<u8>) -> Result<()> {
        match self.sizes[slot as usize] > 0 {
            true => self.best.write(slot, out),
            false => out.push(NULL),
        }
        Ok(())
    }
}
