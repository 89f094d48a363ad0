//! Functions over a group's values in the order in which they came: LISTAGG, ARRAY_AGG,
//! JSON_ARRAYAGG, and FIRST_VALUE and LAST_VALUE of what rows are taken back from.
//!
//! In the maps a value stands under the number of its arrival; where rows are taken back, the numbers
//! of each value stand under it too. Of equal values the one that came first is taken back, as in
//! Flink; one that is not there is not missed.
//!
//! Where rows come in parts, what a part takes back it takes from itself first, and a value that it takes from
//! before and then adds again stays where it was: Flink makes a list of each part, and a list of what that takes
//! back, and adds both to the state.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::Int64Type;
use millrace_core::memory::widen;
use millrace_core::{Error, Result};

use super::accumulator::{Accumulator, stored};
use super::encoded::{Encoded, NULL, OverBytes, VALUE, Values};
use super::maps::{Maps, View, entry};
use crate::{DataType, Field, TypeKind};

/// Below its view: values by number, and numbers by value.
const BY_NUMBER: u8 = 0;
const BY_VALUE: u8 = 1;
/// Of a part: the number of its first value; by value the numbers of those that it took from before.
const PART: u8 = 2;
const TAKEN: u8 = 3;
/// Bytes of a number.
const NUMBER: usize = 8;

/// What the values become.
pub enum Form {
    /// One text, with an encoded separator.
    Text {
        separator: Vec<u8>,
    },
    Array {
        nulls: bool,
    },
    /// Of values that are JSON already.
    JsonArray {
        nulls: bool,
    },
}

impl Form {
    pub fn text(separator: &str) -> Form {
        Form::Text {
            separator: escaped(separator.as_bytes()),
        }
    }
}

pub fn accumulator(
    arg: &DataType,
    result: &DataType,
    form: Form,
    retracts: bool,
    view: View,
) -> Result<Box<dyn Accumulator>> {
    let joined = Joined {
        form,
        list: List::new(view, retracts),
    };
    Ok(Box::new(OverBytes::new(joined, arg, result)?))
}

pub fn end(arg: &DataType, last: bool, view: View) -> Result<Box<dyn Accumulator>> {
    let end = End {
        last,
        value: Values::new(arg)?,
        list: List::new(view, true),
    };
    let result = arg.clone().with_nullable(true);
    Ok(Box::new(OverBytes::new(end, arg, &result)?))
}

/// The values of each slot in their order.
struct List {
    view: View,
    retracts: bool,
    /// The number of the next value.
    next: Vec<i64>,
    /// The part that rows are of, where they come in parts.
    part: Option<u64>,
    buffer: Vec<u8>,
}

impl List {
    fn new(view: View, retracts: bool) -> Self {
        List {
            view,
            retracts,
            next: Vec::new(),
            part: None,
            buffer: Vec::new(),
        }
    }

    fn field(&self) -> Field {
        Field::new("next", DataType::not_null(TypeKind::BigInt))
    }

    fn resize(&mut self, width: usize) {
        widen(&mut self.next, width, 0);
    }

    fn reset(&mut self, slot: u32) {
        self.next[slot as usize] = 0;
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef], index: usize) -> Result<()> {
        for (slot, next) in slots.iter().zip(stored::<Int64Type>(columns, index)?.values()) {
            self.next[*slot as usize] = *next;
        }
        Ok(())
    }

    fn store(&self, slots: &[u32]) -> ArrayRef {
        let next = slots.iter().map(|slot| self.next[*slot as usize]);
        Arc::new(Int64Array::from_iter_values(next))
    }

    fn prefix(&self, kind: u8) -> [u8; 3] {
        [self.view[0], self.view[1], kind]
    }

    fn looks_up(&self, retracts: bool) -> Option<Vec<u8>> {
        (self.retracts && retracts).then(|| self.prefix(BY_VALUE).to_vec())
    }

    /// What an entry says of the present part.
    fn of_part(&mut self, slot: u32, kind: u8, value: &[u8], maps: &mut dyn Maps) -> Result<Option<Vec<u8>>> {
        let Some(part) = self.part else { return Ok(None) };
        let prefix = self.prefix(kind);
        let stored = maps.get(slot, entry(&mut self.buffer, &prefix, value))?;
        let of_part = stored.and_then(|stored| stored.strip_prefix(&part.to_be_bytes()));
        Ok(of_part.map(<[u8]>::to_vec))
    }

    fn note(&mut self, slot: u32, kind: u8, value: &[u8], of_part: &[u8], maps: &mut dyn Maps) {
        let Some(part) = self.part else { return };
        let prefix = self.prefix(kind);
        let stored = [&part.to_be_bytes(), of_part].concat();
        maps.put(slot, entry(&mut self.buffer, &prefix, value), &stored);
    }

    /// Puts a value back that the same part took; whether there was one.
    fn put_back(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<bool> {
        let Some(mut taken) = self.of_part(slot, TAKEN, value, maps)? else {
            return Ok(false);
        };
        let number = taken.split_off(taken.len().saturating_sub(NUMBER));
        match taken.is_empty() {
            true => {
                let prefix = self.prefix(TAKEN);
                maps.remove(slot, entry(&mut self.buffer, &prefix, value));
            }
            false => self.note(slot, TAKEN, value, &taken, maps),
        }
        let (by_number, by_value) = (self.prefix(BY_NUMBER), self.prefix(BY_VALUE));
        maps.put(slot, entry(&mut self.buffer, &by_number, &number), value);
        let at = entry(&mut self.buffer, &by_value, value);
        let mut numbers = maps.get(slot, at)?.unwrap_or_default().to_vec();
        let before = numbers.chunks(NUMBER).take_while(|other| *other < &number[..]);
        let place = before.count() * NUMBER;
        numbers.splice(place..place, number);
        maps.put(slot, at, &numbers);
        Ok(true)
    }

    fn push(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        if self.part.is_some() && self.retracts {
            if self.put_back(slot, value, maps)? {
                return Ok(());
            }
            if self.of_part(slot, PART, &[], maps)?.is_none() {
                let first = self.next[slot as usize].to_be_bytes();
                self.note(slot, PART, &[], &first, maps);
            }
        }
        let next = &mut self.next[slot as usize];
        let number = next.to_be_bytes();
        *next += 1;
        let (by_number, by_value) = (self.prefix(BY_NUMBER), self.prefix(BY_VALUE));
        maps.put(slot, entry(&mut self.buffer, &by_number, &number), value);
        if self.retracts {
            let at = entry(&mut self.buffer, &by_value, value);
            let mut numbers = maps.get(slot, at)?.unwrap_or_default().to_vec();
            numbers.extend_from_slice(&number);
            maps.put(slot, at, &numbers);
        }
        Ok(())
    }

    /// Takes the first of equal values out; false where there is none, or it has expired.
    fn take(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<bool> {
        let (by_number, by_value) = (self.prefix(BY_NUMBER), self.prefix(BY_VALUE));
        let at = entry(&mut self.buffer, &by_value, value);
        let Some(numbers) = maps.get(slot, at)?.map(<[u8]>::to_vec) else {
            return Ok(false);
        };
        if numbers.is_empty() || !numbers.len().is_multiple_of(NUMBER) {
            return Err(Error::data_loss(
                "the stored state of an aggregate function has another form",
            ));
        }
        let first_of_part = self.of_part(slot, PART, &[], maps)?;
        let in_part = first_of_part.and_then(|first| numbers.chunks(NUMBER).position(|n| n >= &first[..]));
        let place = in_part.unwrap_or_default() * NUMBER;
        let mut rest = numbers;
        let number: Vec<u8> = rest.drain(place..place + NUMBER).collect();
        let at = entry(&mut self.buffer, &by_value, value);
        match rest.is_empty() {
            true => maps.remove(slot, at),
            false => maps.put(slot, at, &rest),
        }
        if self.part.is_some() && in_part.is_none() {
            let mut taken = self.of_part(slot, TAKEN, value, maps)?.unwrap_or_default();
            taken.extend_from_slice(&number);
            self.note(slot, TAKEN, value, &taken, maps);
        }
        let at = entry(&mut self.buffer, &by_number, &number);
        if maps.expires() && maps.get(slot, at)?.is_none() {
            return Ok(false);
        }
        maps.remove(slot, at);
        Ok(true)
    }

    /// As `take`, of a list that is one state: values that have expired are not there, and when one is taken
    /// out the others are written again, as Flink's `ListView` does.
    fn take_of_list(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        let by_value = self.prefix(BY_VALUE);
        while !self.take(slot, value, maps)? {
            let at = entry(&mut self.buffer, &by_value, value);
            if maps.get(slot, at)?.is_none() {
                return Ok(());
            }
        }
        match maps.expires() {
            true => maps.touch(slot, &self.view),
            false => Ok(()),
        }
    }

    fn each(&self, slot: u32, maps: &mut dyn Maps, visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        maps.each(slot, &self.prefix(BY_NUMBER), &mut |_, value| visit(value))
    }
}

struct Joined {
    form: Form,
    list: List,
}

impl Encoded for Joined {
    fn fields(&self) -> Vec<Field> {
        vec![self.list.field()]
    }

    fn slot_bytes(&self) -> usize {
        size_of::<i64>()
    }

    fn resize(&mut self, width: usize) {
        self.list.resize(width);
    }

    fn reset(&mut self, slot: u32) {
        self.list.reset(slot);
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.list.load(slots, columns, 0)
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.list.store(slots)])
    }

    fn is_long(&self) -> bool {
        true
    }

    fn takes_nulls(&self) -> bool {
        match self.form {
            Form::Text { .. } => false,
            Form::Array { nulls } | Form::JsonArray { nulls } => nulls,
        }
    }

    fn view(&self) -> Option<View> {
        Some(self.list.view)
    }

    fn begin(&mut self, part: u64) {
        self.list.part = Some(part);
    }

    fn looks_up(&self, retracts: bool) -> Option<Vec<u8>> {
        self.list.looks_up(retracts)
    }

    fn absorb(&mut self, slot: u32, entry: &[u8], value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        match entry.first() {
            Some(&BY_NUMBER) => self.accumulate(slot, value, maps),
            // It is made anew.
            _ => Ok(()),
        }
    }

    fn accumulate(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        self.list.push(slot, value, maps)
    }

    fn retract(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        self.list.take_of_list(slot, value, maps)
    }

    fn result(&self, slot: u32, maps: &mut dyn Maps, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.push(VALUE);
        let mut is_first = true;
        match &self.form {
            Form::Text { separator } => {
                self.list.each(slot, maps, &mut |value| {
                    if !std::mem::take(&mut is_first) {
                        out.extend_from_slice(separator);
                    }
                    out.extend_from_slice(text(value));
                    Ok(())
                })?;
                out.extend_from_slice(&END_OF_TEXT);
            }
            Form::Array { .. } => {
                self.list.each(slot, maps, &mut |value| {
                    is_first = false;
                    out.push(ELEMENT);
                    out.extend_from_slice(value);
                    Ok(())
                })?;
                out.push(END);
            }
            Form::JsonArray { .. } => {
                out.push(b'[');
                self.list.each(slot, maps, &mut |value| {
                    if !std::mem::take(&mut is_first) {
                        out.push(b',');
                    }
                    match value {
                        [NULL] => out.extend_from_slice(b"null"),
                        value => out.extend_from_slice(text(value)),
                    }
                    Ok(())
                })?;
                out.push(b']');
                out.extend_from_slice(&END_OF_TEXT);
                is_first = false;
            }
        }
        // Of nothing there is no text and no array.
        if is_first {
            out.truncate(start);
            out.push(NULL);
        }
        Ok(())
    }
}

/// As `core::row` writes them.
const ELEMENT: u8 = 1;
const END: u8 = 0;
pub(super) const END_OF_TEXT: [u8; 2] = [0, 0];

/// The bytes of an encoded text between its beginning and its end; they may be put together.
pub(super) fn text(value: &[u8]) -> &[u8] {
    value
        .get(1..value.len().saturating_sub(END_OF_TEXT.len()))
        .unwrap_or_default()
}

/// A text as it stands within an encoded one.
pub(super) fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(u8::MAX);
        }
    }
    out
}

/// FIRST_VALUE or LAST_VALUE.
struct End {
    last: bool,
    value: Values,
    list: List,
}

impl Encoded for End {
    fn fields(&self) -> Vec<Field> {
        vec![self.value.field("value"), self.list.field()]
    }

    fn slot_bytes(&self) -> usize {
        self.value.slot_bytes() + size_of::<i64>()
    }

    fn held_bytes(&self) -> usize {
        self.value.held_bytes()
    }

    fn release(&mut self, slot: u32) {
        self.value.release(slot);
    }

    fn resize(&mut self, width: usize) {
        self.value.resize(width);
        self.list.resize(width);
    }

    fn reset(&mut self, slot: u32) {
        self.value.clear(slot);
        self.list.reset(slot);
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.value.load(slots, columns.first())?;
        self.list.load(slots, columns, 1)
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.value.store(slots)?, self.list.store(slots)])
    }

    fn view(&self) -> Option<View> {
        Some(self.list.view)
    }

    fn looks_up(&self, _: bool) -> Option<Vec<u8>> {
        self.list.looks_up(true)
    }

    fn absorb(&mut self, slot: u32, entry: &[u8], value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        match entry.first() {
            Some(&BY_NUMBER) => self.accumulate(slot, value, maps),
            _ => Ok(()),
        }
    }

    fn accumulate(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        if self.last || self.value.get(slot).is_empty() {
            self.value.set(slot, value);
        }
        self.list.push(slot, value, maps)
    }

    fn retract(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        if !self.list.take(slot, value, maps)? || value != self.value.get(slot) {
            return Ok(());
        }
        let prefix = self.list.prefix(BY_NUMBER);
        let at = match self.last {
            true => maps.last(slot, &prefix)?,
            false => maps.first(slot, &prefix)?,
        };
        match at {
            None => self.value.clear(slot),
            Some(at) => self.value.set(slot, maps.get(slot, &at)?.unwrap_or_default()),
        }
        Ok(())
    }

    fn result(&self, slot: u32, _: &mut dyn Maps, out: &mut Vec<u8>) -> Result<()> {
        self.value.write(slot, out);
        Ok(())
    }
}
