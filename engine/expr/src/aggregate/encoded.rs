//! Functions over values of any type: they see values as `RowCodec` writes them, bytes that sort as
//! the values do, and give their results in the same form.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef};
use millrace_core::memory::{allocated, widen};
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result};

use super::accumulator::{Accumulator, Input, Trace, takes};
use super::maps::{Maps, View, entry};
use crate::{DataType, Field};

/// An encoded null.
pub(super) const NULL: u8 = 0;
/// Stands before the bytes of any other value.
pub(super) const VALUE: u8 = 1;

/// A function that keeps something for each slot, in columns and in its view of the maps.
pub(super) trait Encoded: Send {
    fn fields(&self) -> Vec<Field>;

    fn slot_bytes(&self) -> usize;

    /// See `Accumulator::held_bytes`.
    fn held_bytes(&self) -> usize {
        0
    }

    fn resize(&mut self, width: usize);

    /// See `Accumulator::release`.
    fn release(&mut self, _slot: u32) {}

    /// The columns of a slot are those of an empty group.
    fn reset(&mut self, slot: u32);

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()>;

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Adds a stored state to a slot's; `None`: states cannot be added.
    fn merge(&mut self, _slots: &[u32], _columns: &[ArrayRef]) -> Option<Result<()>> {
        None
    }

    fn merges(&self) -> bool {
        false
    }

    /// Whether rows where the argument is null count.
    fn takes_nulls(&self) -> bool {
        false
    }

    /// Whether a result is put together of much, so that it is better not done twice.
    fn is_long(&self) -> bool {
        false
    }

    /// The view that is its own, if it has one.
    fn view(&self) -> Option<View> {
        None
    }

    /// See `Accumulator::begin`.
    fn begin(&mut self, _part: u64) {}

    /// What stands before values where they are looked up in the maps.
    fn looks_up(&self, _retracts: bool) -> Option<Vec<u8>> {
        None
    }

    fn accumulate(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()>;

    fn retract(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()>;

    /// Adds an entry of another slot's view to a slot.
    fn absorb(&mut self, _slot: u32, _entry: &[u8], _value: &[u8], _maps: &mut dyn Maps) -> Result<()> {
        Err(Error::internal("an aggregate function has no map to be merged"))
    }

    /// Writes a slot's result, encoded.
    fn result(&self, slot: u32, maps: &mut dyn Maps, out: &mut Vec<u8>) -> Result<()>;
}

/// An accumulator out of such a function.
pub(super) struct OverBytes<E> {
    function: E,
    arg: RowCodec,
    result: RowCodec,
    /// Of the batch at hand.
    values: Rows,
}

impl<E: Encoded> OverBytes<E> {
    pub fn new(function: E, arg: &DataType, result: &DataType) -> Result<Self> {
        Ok(OverBytes {
            function,
            arg: RowCodec::new([arg.to_arrow()])?,
            result: RowCodec::new([result.to_arrow()])?,
            values: Rows::default(),
        })
    }

    /// `at` is called before a row is taken in, with `false`, and after it.
    fn rows(
        &mut self,
        input: &Input<'_>,
        maps: &mut dyn Maps,
        mut at: impl FnMut(&E, u32, bool, &mut dyn Maps) -> Result<()>,
    ) -> Result<()> {
        let arg = input
            .arg
            .ok_or_else(|| Error::internal("an aggregate function has no argument"))?;
        self.values.clear();
        self.arg.encode(std::slice::from_ref(arg), &mut self.values)?;
        let nulls = arg.nulls().filter(|_| !self.function.takes_nulls());
        let counts = |row: usize| takes(input.pass, nulls, row);
        if let Some(prefix) = self.function.looks_up(input.retract.is_some()) {
            let wanted = (0..input.slots.len()).filter(|row| counts(*row));
            maps.prefetch(
                &prefix,
                &mut wanted.map(|row| (input.slots[row], self.values.get(row))),
            )?;
        }
        for (row, slot) in input.slots.iter().enumerate() {
            if input.first.is_some_and(|first| first[row]) {
                self.function.reset(*slot);
                if let Some(view) = self.function.view() {
                    maps.clear(*slot, &view)?;
                }
            }
            at(&self.function, *slot, false, maps)?;
            if counts(row) {
                let value = self.values.get(row);
                match input.retract.is_some_and(|retract| retract[row]) {
                    false => self.function.accumulate(*slot, value, maps)?,
                    true => self.function.retract(*slot, value, maps)?,
                }
            }
            at(&self.function, *slot, true, maps)?;
        }
        Ok(())
    }

    fn decode(&self, rows: &Rows) -> Result<ArrayRef> {
        decode(&self.result, rows)
    }
}

/// The column of encoded rows of one.
pub(super) fn decode(codec: &RowCodec, rows: &Rows) -> Result<ArrayRef> {
    let column = codec.decode(rows.iter())?.pop();
    column.ok_or_else(|| Error::internal("an aggregate function gave no result"))
}

impl<E: Encoded> Accumulator for OverBytes<E> {
    fn fields(&self) -> Vec<Field> {
        self.function.fields()
    }

    fn merges(&self) -> bool {
        self.function.merges()
    }

    fn slot_bytes(&self) -> usize {
        self.function.slot_bytes()
    }

    fn held_bytes(&self) -> usize {
        self.function.held_bytes()
    }

    fn release(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.function.release(*slot));
    }

    fn resize(&mut self, width: usize) {
        self.function.resize(width);
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.function.reset(*slot));
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.function.load(slots, columns)
    }

    fn merge(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.function
            .merge(slots, columns)
            .unwrap_or_else(|| Err(Error::internal("an aggregate function was planned in two phases")))
    }

    fn view(&self) -> Option<View> {
        self.function.view()
    }

    fn begin(&mut self, part: u64) {
        self.function.begin(part);
    }

    fn absorb(&mut self, slot: u32, entry: &[u8], value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        self.function.absorb(slot, entry, value, maps)
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.function.store(slots)
    }

    fn update(&mut self, input: &Input<'_>, maps: &mut dyn Maps) -> Result<()> {
        self.rows(input, maps, |_, _, _, _| Ok(()))
    }

    fn trace(&mut self, input: &Input<'_>, maps: &mut dyn Maps) -> Result<Trace> {
        let (mut before, mut after) = (Rows::default(), Rows::default());
        // What a row's group had is what the group's row before has left.
        let mut latest: HashMap<u32, usize> = HashMap::new();
        let first = |row: usize| input.first.is_some_and(|first| first[row]);
        self.rows(input, maps, |function, slot, is_after, maps| {
            let row = after.len();
            match is_after {
                false => {
                    let known = latest.get(&slot).filter(|_| function.is_long() && !first(row));
                    match known {
                        Some(known) => before.data.extend_from_slice(after.get(*known)),
                        _ => function.result(slot, maps, &mut before.data)?,
                    }
                    before.ends.push(before.data.len());
                }
                true => {
                    function.result(slot, maps, &mut after.data)?;
                    after.ends.push(after.data.len());
                    if function.is_long() {
                        latest.insert(slot, row);
                    }
                }
            }
            Ok(())
        })?;
        Ok(Trace {
            before: self.decode(&before)?,
            after: self.decode(&after)?,
        })
    }

    fn values(&self, slots: &[u32], maps: &mut dyn Maps) -> Result<ArrayRef> {
        let mut rows = Rows::default();
        for slot in slots {
            self.function.result(*slot, maps, &mut rows.data)?;
            rows.ends.push(rows.data.len());
        }
        self.decode(&rows)
    }
}

/// Bytes that a value's place may have too many without that it is made anew.
const SPARE: usize = 64;

/// A column of encoded values of one type, by slot. No value is an empty one.
pub(super) struct Values {
    data_type: DataType,
    codec: RowCodec,
    values: Vec<Vec<u8>>,
    /// What the values take on the heap.
    held_bytes: usize,
}

impl Values {
    pub fn new(data_type: &DataType) -> Result<Self> {
        let data_type = data_type.clone().with_nullable(true);
        Ok(Values {
            codec: RowCodec::new([data_type.to_arrow()])?,
            data_type,
            values: Vec::new(),
            held_bytes: 0,
        })
    }

    pub fn field(&self, name: &str) -> Field {
        Field::new(name, self.data_type.clone())
    }

    /// Bytes of a slot beside its value.
    pub fn slot_bytes(&self) -> usize {
        size_of::<Vec<u8>>()
    }

    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub fn resize(&mut self, width: usize) {
        let gone = self.values.get(width..).unwrap_or_default();
        self.held_bytes -= gone
            .iter()
            .map(|value| allocated(value.capacity()))
            .sum::<usize>();
        widen(&mut self.values, width, Vec::new());
    }

    /// The value of a slot; none or null: empty.
    pub fn get(&self, slot: u32) -> &[u8] {
        &self.values[slot as usize]
    }

    pub fn set(&mut self, slot: u32, value: &[u8]) {
        let held = &mut self.values[slot as usize];
        let has = held.capacity();
        // A value takes the place of the one before it, unless much of that would stay empty.
        if value.len() > has || has > 2 * value.len() + SPARE {
            self.held_bytes -= allocated(has);
            *held = value.to_vec();
            self.held_bytes += allocated(held.capacity());
            return;
        }
        held.clear();
        held.extend_from_slice(value);
    }

    /// There is no value; the next one has its place.
    pub fn clear(&mut self, slot: u32) {
        self.values[slot as usize].clear();
    }

    /// Nor is there a place.
    pub fn release(&mut self, slot: u32) {
        let held = std::mem::take(&mut self.values[slot as usize]);
        self.held_bytes -= allocated(held.capacity());
    }

    /// The value as a result: null where there is none.
    pub fn write(&self, slot: u32, out: &mut Vec<u8>) {
        match self.get(slot) {
            [] => out.push(NULL),
            value => out.extend_from_slice(value),
        }
    }

    pub fn load(&mut self, slots: &[u32], column: Option<&ArrayRef>) -> Result<()> {
        let rows = self.read(column)?;
        for (slot, value) in slots.iter().zip(rows.iter()) {
            match value {
                [NULL] => self.clear(*slot),
                value => self.set(*slot, value),
            }
        }
        Ok(())
    }

    /// A stored column as encoded values, [`NULL`] where there is none.
    pub fn read(&self, column: Option<&ArrayRef>) -> Result<Rows> {
        let column = column.filter(|column| Some(column.data_type()) == self.codec.types().first());
        let column = column
            .ok_or_else(|| Error::data_loss("the stored state of an aggregate function has another form"))?;
        let mut rows = Rows::default();
        self.codec.encode(std::slice::from_ref(column), &mut rows)?;
        Ok(rows)
    }

    pub fn store(&self, slots: &[u32]) -> Result<ArrayRef> {
        let mut rows = Rows::default();
        for slot in slots {
            self.write(*slot, &mut rows.data);
            rows.ends.push(rows.data.len());
        }
        decode(&self.codec, &rows)
    }
}

/// A number under an entry of the maps, 0 where there is none.
pub(super) fn number(maps: &mut dyn Maps, slot: u32, at: &[u8]) -> Result<i64> {
    maps.get(slot, at)?.map_or(Ok(0), stored_number)
}

/// A number as it stands in the maps.
pub(super) fn stored_number(bytes: &[u8]) -> Result<i64> {
    <[u8; 8]>::try_from(bytes)
        .map(i64::from_be_bytes)
        .map_err(|_| Error::data_loss("the stored state of an aggregate function has another form"))
}

/// Sets it; 0 is not kept.
pub(super) fn set_number(maps: &mut dyn Maps, slot: u32, at: &[u8], number: i64) {
    match number {
        0 => maps.remove(slot, at),
        n => maps.put(slot, at, &n.to_be_bytes()),
    }
}

/// An entry of a view, in a buffer that is used again.
pub(super) fn of_view<'a>(buffer: &'a mut Vec<u8>, view: &View, value: &[u8]) -> &'a [u8] {
    entry(buffer, view, value)
}
