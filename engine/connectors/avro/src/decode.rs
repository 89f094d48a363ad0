//! Records to columns (specification, "Binary Encoding").

use millrace_expr::{DataType, Field};
use millrace_formats::column::{Column, RowColumns, Values};

use crate::plan::{FieldPlan, Plan, RecordPlan};
use crate::schema::{Schema, Shape, Type};

/// Why a record cannot be read.
pub type Result<T> = std::result::Result<T, String>;

/// Records within one another that are skipped at most.
const MAX_DEPTH: usize = 1000;
/// Elements of an array that take no byte each at most.
const MAX_EMPTY: usize = 1 << 20;

/// The rest of a record.
pub struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input { bytes }
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or("the record ends within a value")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?
            .try_into()
            .map_err(|_| "the record ends within a value".to_owned())
    }

    /// Zig-zag, seven bits a byte, the lowest first.
    pub fn long(&mut self) -> Result<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("a number has too many bytes".to_owned())
    }

    fn int(&mut self) -> Result<i32> {
        i32::try_from(self.long()?).map_err(|_| "an int is out of range".to_owned())
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.long()?).map_err(|_| "a length is negative")?;
        self.take(length)
    }

    /// How many elements the next block of an array or a map has; none at its end.
    fn block(&mut self) -> Result<usize> {
        let count = self.long()?;
        if count < 0 {
            // The block's length in bytes, for who skips it.
            self.long()?;
        }
        usize::try_from(count.unsigned_abs()).map_err(|_| "a block is too long".to_owned())
    }

    /// Reads the elements of an array or a map.
    fn elements(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let mut empty = 0;
        loop {
            let count = self.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                let before = self.bytes.len();
                element(self)?;
                if self.bytes.len() == before {
                    empty += 1;
                    if empty > MAX_EMPTY {
                        return Err("an array has too many elements without a byte".to_owned());
                    }
                }
            }
        }
    }

    fn skip(&mut self, schema: &Schema, of: &Type, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err("records are nested too deeply".to_owned());
        }
        match &of.shape {
            Shape::Null => {}
            Shape::Boolean => drop(self.take(1)?),
            Shape::Int | Shape::Long | Shape::Enum => drop(self.long()?),
            Shape::Float => drop(self.take(4)?),
            Shape::Double => drop(self.take(8)?),
            Shape::Bytes | Shape::String => drop(self.bytes()?),
            Shape::Fixed(size) => drop(self.take(*size)?),
            Shape::Array(items) => self.elements(|input| input.skip(schema, items, depth + 1))?,
            Shape::Map(values) => self.elements(|input| {
                input.bytes()?;
                input.skip(schema, values, depth + 1)
            })?,
            Shape::Union(variants) => {
                let variant = self.long()?;
                let of = usize::try_from(variant).ok().and_then(|v| variants.get(v));
                self.skip(schema, of.ok_or("a union has no such variant")?, depth + 1)?;
            }
            Shape::Record(number) => {
                for field in &schema.records[*number].fields {
                    self.skip(schema, &field.of, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a record into the next row.
pub fn record(schema: &Schema, plan: &RecordPlan, row: &mut RowColumns, input: &mut Input) -> Result<()> {
    for field in &plan.fields {
        match field {
            FieldPlan::Skip(of) => input.skip(schema, of, 0)?,
            FieldPlan::Read(column, plan) => {
                value(schema, plan, &mut row.fields[*column], input).map_err(|e| {
                    match e.starts_with("field '") {
                        true => e,
                        false => format!("field '{}': {e}", row.names[*column]),
                    }
                })?
            }
        }
    }
    for column in &plan.missing {
        row.fields[*column].push_null();
    }
    row.rows += 1;
    Ok(())
}

fn value(schema: &Schema, plan: &Plan, column: &mut Column, input: &mut Input) -> Result<()> {
    match plan {
        Plan::Null => column.push_null(),
        Plan::Union(variants) => {
            let variant = input.long()?;
            let plan = usize::try_from(variant).ok().and_then(|v| variants.get(v));
            return value(schema, plan.ok_or("a union has no such variant")?, column, input);
        }
        Plan::Misfit(why) => return Err(why.clone()),
        Plan::Boolean => {
            let [byte] = input.array()?;
            match &mut column.values {
                Values::Boolean(values) => values.push(byte == 1),
                _ => return Err(misplaced()),
            }
        }
        Plan::Int => {
            let number = input.int()?;
            whole(i64::from(number), column)?;
        }
        Plan::Long => {
            let number = input.long()?;
            whole(number, column)?;
        }
        Plan::Float => {
            let number = f32::from_le_bytes(input.array()?);
            match &mut column.values {
                Values::Float(values) => values.push(number),
                Values::Double(values) => values.push(f64::from(number)),
                _ => return Err(misplaced()),
            }
        }
        Plan::Double => {
            let number = f64::from_le_bytes(input.array()?);
            match &mut column.values {
                Values::Double(values) => values.push(number),
                _ => return Err(misplaced()),
            }
        }
        Plan::Bytes => {
            let bytes = input.bytes()?;
            text(bytes, column)?;
        }
        Plan::Array(items) => {
            let Values::Array { offsets, item } = &mut column.values else {
                return Err(misplaced());
            };
            input.elements(|input| value(schema, items, item, input))?;
            offsets.push(item.len() as i32);
        }
        Plan::Map(of) => {
            let Values::Map {
                offsets,
                key: keys,
                value: values,
            } = &mut column.values
            else {
                return Err(misplaced());
            };
            let mut names = std::collections::HashSet::new();
            input.elements(|input| {
                let name = input.bytes()?;
                if !names.insert(name) {
                    return Err("a map has a key twice".to_owned());
                }
                text(name, keys)?;
                value(schema, of, values, input)
            })?;
            offsets.push(keys.len() as i32);
        }
        Plan::Record(plan) => match &mut column.values {
            Values::Row(row) => record(schema, plan, row, input)?,
            _ => return Err(misplaced()),
        },
    }
    Ok(())
}

/// A plan is made for the columns, so this is a mistake of ours.
fn misplaced() -> String {
    "a value was planned for a column of another type".to_owned()
}

fn whole(number: i64, column: &mut Column) -> Result<()> {
    match &mut column.values {
        // As Java's `byteValue` and `shortValue`.
        Values::TinyInt(values) => values.push(number as i8),
        Values::SmallInt(values) => values.push(number as i16),
        Values::Int(values) | Values::Date(values) => values.push(number as i32),
        Values::Time(values) if (0..86_400_000).contains(&number) => values.push(number as i32),
        Values::Time(_) => return Err(format!("{number} ms is no time of a day")),
        Values::BigInt(values) => values.push(number),
        Values::Timestamp(stamps) => stamps.values.push(number),
        Values::Float(values) => values.push(number as f32),
        Values::Double(values) => values.push(number as f64),
        _ => return Err(misplaced()),
    }
    Ok(())
}

fn text(bytes: &[u8], column: &mut Column) -> Result<()> {
    let nullable = column.data_type.nullable;
    match &mut column.values {
        Values::Text(values) => match std::str::from_utf8(bytes) {
            Ok(_) => values.push(bytes),
            // As Java's decoder: what is no character becomes one that says so.
            Err(_) => values.push(String::from_utf8_lossy(bytes).as_bytes()),
        },
        Values::Bytes(values) => values.push(bytes),
        Values::Decimal(_) if bytes.is_empty() => return Err("a decimal has no bytes".to_owned()),
        Values::Decimal(decimals) => match decimal(bytes, decimals.precision) {
            Some(unscaled) => decimals.values.push(unscaled),
            // As in Flink a decimal that is too large for its type is null.
            None if nullable => column.push_null(),
            None => return Err("a decimal is too large for its column".to_owned()),
        },
        _ => return Err(misplaced()),
    }
    Ok(())
}

/// Two's complement, the highest byte first; nothing where there are more digits than that.
fn decimal(bytes: &[u8], precision: u8) -> Option<i128> {
    let negative = bytes.first().is_some_and(|b| b & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let significant = bytes.len().saturating_sub(16);
    if bytes[..significant].iter().any(|b| *b != fill) {
        return None;
    }
    let mut wide = [fill; 16];
    let tail = &bytes[significant..];
    wide[16 - tail.len()..].copy_from_slice(tail);
    let unscaled = i128::from_be_bytes(wide);
    if (unscaled < 0) != negative {
        return None;
    }
    let most = 10u128.checked_pow(u32::from(precision))?;
    (unscaled.unsigned_abs() < most).then_some(unscaled)
}

/// Names and types, as plans take them.
pub fn named(fields: &[Field]) -> Vec<(&str, &DataType)> {
    fields.iter().map(|f| (f.name.as_str(), &f.data_type)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let read = |bytes: &[u8]| Input::new(bytes).long();
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[1]), Ok(-1));
        assert_eq!(read(&[0x80, 1]), Ok(64));
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(read(&most), Ok(i64::MIN));
        assert!(read(&[0x80]).is_err());
        assert!(read(&[0x80; 11]).is_err());
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(&[], 5), Some(0));
        assert_eq!(decimal(&[0xff], 5), Some(-1));
        assert_eq!(decimal(&[0, 0x80], 5), Some(128));
        assert_eq!(decimal(&[0; 20], 5), Some(0));
        assert_eq!(decimal(&[0xff; 20], 5), Some(-1));
        assert_eq!(decimal(&[1, 0x86, 0xa0], 5), None);
        assert_eq!(decimal(&[0x7f; 17], 38), None);
    }
}
