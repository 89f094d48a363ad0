//! Functions whose result is a map: COLLECT, the values of a group with their numbers, and
//! JSON_OBJECTAGG. Entries are in the order of their keys, where Flink promises none.

use arrow::array::ArrayRef;
use millrace_core::{Error, Result};

use super::accumulator::Accumulator;
use super::encoded::{Encoded, NULL, OverBytes, VALUE, of_view};
use super::listed::{END_OF_TEXT, escaped, text};
use super::maps::{Maps, View};
use crate::text::json;
use crate::{DataType, Field};

pub fn collect(arg: &DataType, result: &DataType, view: View) -> Result<Box<dyn Accumulator>> {
    let collect = Collect {
        view,
        buffer: Vec::new(),
    };
    Ok(Box::new(OverBytes::new(collect, arg, result)?))
}

/// Its state is all in the map.
struct Collect {
    view: View,
    buffer: Vec<u8>,
}

impl Collect {
    fn change(&mut self, slot: u32, value: &[u8], by: i32, maps: &mut dyn Maps) -> Result<()> {
        let at = of_view(&mut self.buffer, &self.view, value);
        let known = maps.get(slot, at)?.map(<[u8; 4]>::try_from);
        let count = match known {
            None => by,
            Some(Ok(bytes)) => i32::from_be_bytes(bytes).wrapping_add(by),
            Some(Err(_)) => return Err(damaged()),
        };
        match count {
            0 => maps.remove(slot, at),
            n => maps.put(slot, at, &n.to_be_bytes()),
        }
        Ok(())
    }
}

fn damaged() -> Error {
    Error::data_loss("the stored state of an aggregate function has another form")
}

/// What functions have in common that keep nothing in columns.
macro_rules! no_columns {
    () => {
        fn fields(&self) -> Vec<Field> {
            Vec::new()
        }

        fn slot_bytes(&self) -> usize {
            0
        }

        fn resize(&mut self, _: usize) {}

        fn reset(&mut self, _: u32) {}

        fn load(&mut self, _: &[u32], _: &[ArrayRef]) -> Result<()> {
            Ok(())
        }

        fn store(&self, _: &[u32]) -> Result<Vec<ArrayRef>> {
            Ok(Vec::new())
        }

        fn is_long(&self) -> bool {
            true
        }

        fn view(&self) -> Option<View> {
            Some(self.view)
        }
    };
}

impl Encoded for Collect {
    no_columns!();

    fn looks_up(&self, _: bool) -> Option<Vec<u8>> {
        Some(self.view.to_vec())
    }

    fn absorb(&mut self, slot: u32, entry: &[u8], count: &[u8], maps: &mut dyn Maps) -> Result<()> {
        let count = <[u8; 4]>::try_from(count).map_err(|_| damaged())?;
        self.change(slot, entry, i32::from_be_bytes(count), maps)
    }

    fn accumulate(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        self.change(slot, value, 1, maps)
    }

    fn retract(&mut self, slot: u32, value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        self.change(slot, value, -1, maps)
    }

    fn result(&self, slot: u32, maps: &mut dyn Maps, out: &mut Vec<u8>) -> Result<()> {
        out.push(VALUE);
        maps.each(slot, &self.view, &mut |at, count| {
            let count = <[u8; 4]>::try_from(count).map_err(|_| damaged())?;
            // An element, which is a row of key and number.
            out.extend_from_slice(&[1, VALUE]);
            out.extend_from_slice(&at[self.view.len()..]);
            out.push(VALUE);
            out.extend_from_slice(&(u32::from_be_bytes(count) ^ (1 << 31)).to_be_bytes());
            Ok(())
        })?;
        out.push(0);
        Ok(())
    }
}

/// `arg` is a row of the key, a text, and the value, JSON already.
pub fn json_object(
    arg: &DataType,
    result: &DataType,
    nulls: bool,
    view: View,
) -> Result<Box<dyn Accumulator>> {
    let object = JsonObject {
        nulls,
        view,
        buffer: Vec::new(),
    };
    Ok(Box::new(OverBytes::new(object, arg, result)?))
}

struct JsonObject {
    nulls: bool,
    view: View,
    buffer: Vec<u8>,
}

/// Key and value of an encoded row of both.
fn parts(row: &[u8]) -> Result<(&[u8], &[u8])> {
    let row = row.get(1..).unwrap_or_default();
    if row.first() != Some(&VALUE) {
        return Err(Error::user("JSON_OBJECTAGG has met a key that is NULL")
            .with_hint("leave such rows out by FILTER (WHERE ... IS NOT NULL), or give COALESCE(key, ...)"));
    }
    let mut at = 1;
    while let Some(pair) = row.get(at..at + 2) {
        match pair {
            [0, 0] => return Ok(row.split_at(at + 2)),
            [0, _] => at += 2,
            _ => at += 1,
        }
    }
    Err(Error::internal("JSON_OBJECTAGG meets a row of another form"))
}

/// The text of an encoded one.
fn unescaped(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut after_zero = false;
    for byte in text(value) {
        if !std::mem::take(&mut after_zero) {
            bytes.push(*byte);
            after_zero = *byte == 0;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Encoded for JsonObject {
    no_columns!();

    fn absorb(&mut self, slot: u32, key: &[u8], value: &[u8], maps: &mut dyn Maps) -> Result<()> {
        // Flink looks for keys that come twice only where rows come.
        maps.put(slot, of_view(&mut self.buffer, &self.view, key), value);
        Ok(())
    }

    fn accumulate(&mut self, slot: u32, row: &[u8], maps: &mut dyn Maps) -> Result<()> {
        let (key, value) = parts(row)?;
        let at = of_view(&mut self.buffer, &self.view, key);
        if maps.get(slot, at)?.is_some() {
            return Err(Error::user("JSON_OBJECTAGG has met a key twice")
                .with_detail(format!("the key is '{}'", unescaped(key)))
                .with_hint(
                    "keys are unique within a group: group by more, or make the key of more columns",
                ));
        }
        if self.nulls || value != [NULL] {
            maps.put(slot, at, value);
        }
        Ok(())
    }

    fn retract(&mut self, slot: u32, row: &[u8], maps: &mut dyn Maps) -> Result<()> {
        let (key, _) = parts(row)?;
        maps.remove(slot, of_view(&mut self.buffer, &self.view, key));
        Ok(())
    }

    fn result(&self, slot: u32, maps: &mut dyn Maps, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&[VALUE, b'{']);
        let mut is_first = true;
        let mut quoted = Vec::new();
        maps.each(slot, &self.view, &mut |at, value| {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            quoted.clear();
            json::write_string(&unescaped(&at[self.view.len()..]), &mut quoted);
            out.extend_from_slice(&escaped(&quoted));
            out.push(b':');
            match value {
                [NULL] => out.extend_from_slice(b"null"),
                value => out.extend_from_slice(text(value)),
            }
            Ok(())
        })?;
        out.push(b'}');
        out.extend_from_slice(&END_OF_TEXT);
        Ok(())
    }
}
