//! Bytes to columns, a row after the other.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, ListArray, MapArray, NullArray,
    PrimitiveBuilder, StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMillisecondType, FieldRef, Fields, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};

use super::{ELEMENT, END, NULL, VALUE, compact};
use crate::{Error, Result};

pub(super) fn rows<'a>(
    types: &[DataType],
    rows: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<ArrayRef>> {
    let mut columns = types.iter().map(column).collect::<Result<Vec<_>>>()?;
    for mut row in rows {
        for column in &mut columns {
            push(column.as_mut(), &mut row)?;
        }
        if !row.is_empty() {
            return Err(damaged());
        }
    }
    columns.iter_mut().map(|c| c.finish()).collect()
}

/// One column that grows.
trait Column {
    /// Takes a value's bytes, which stand behind its null byte.
    fn value(&mut self, bytes: &mut &[u8]) -> Result<()>;
    /// Takes an integer that was written in few bytes.
    fn integer(&mut self, _: i64) -> Result<()> {
        Err(damaged())
    }
    fn null(&mut self);
    fn finish(&mut self) -> Result<ArrayRef>;
}

fn push(column: &mut dyn Column, bytes: &mut &[u8]) -> Result<()> {
    match take::<1>(bytes)? {
        [NULL] => column.null(),
        [VALUE] => column.value(bytes)?,
        [code] => {
            let (length, negative) = compact::length(code).ok_or_else(damaged)?;
            let (value, rest) = bytes.split_at_checked(length).ok_or_else(damaged)?;
            *bytes = rest;
            column.integer(compact::read(value, negative))?;
        }
    }
    Ok(())
}

fn column(data_type: &DataType) -> Result<Box<dyn Column>> {
    fn number<T: ArrowPrimitiveType, const N: usize>(
        data_type: &DataType,
        read: fn([u8; N]) -> T::Native,
    ) -> Box<dyn Column> {
        let values = PrimitiveBuilder::<T>::new().with_data_type(data_type.clone());
        Box::new(Numbers {
            values,
            read,
            integer: None,
        })
    }
    fn integer<T: ArrowPrimitiveType, const N: usize>(
        read: fn([u8; N]) -> T::Native,
        integer: FromInteger<T>,
    ) -> Box<dyn Column> {
        Box::new(Numbers {
            values: PrimitiveBuilder::<T>::new(),
            read,
            integer: Some(integer),
        })
    }
    let t = data_type;
    Ok(match data_type {
        DataType::Null => Box::new(Nulls(0)),
        DataType::Boolean => Box::new(BooleanBuilder::new()),
        DataType::Int8 => number::<Int8Type, 1>(t, |b| (u8::from_be_bytes(b) ^ 0x80) as i8),
        DataType::Int16 => number::<Int16Type, 2>(t, |b| (u16::from_be_bytes(b) ^ (1 << 15)) as i16),
        DataType::Int32 => integer::<Int32Type, 4>(int, |v| v.try_into().ok()),
        DataType::Int64 => integer::<Int64Type, 8>(long, Some),
        DataType::Float32 => number::<Float32Type, 4>(t, |b| {
            let bits = u32::from_be_bytes(b);
            f32::from_bits(bits ^ if bits >> 31 == 1 { 1 << 31 } else { u32::MAX })
        }),
        DataType::Float64 => number::<Float64Type, 8>(t, |b| {
            let bits = u64::from_be_bytes(b);
            f64::from_bits(bits ^ if bits >> 63 == 1 { 1 << 63 } else { u64::MAX })
        }),
        DataType::Date32 => number::<Date32Type, 4>(t, int),
        DataType::Time32(TimeUnit::Millisecond) => number::<Time32MillisecondType, 4>(t, int),
        DataType::Timestamp(TimeUnit::Millisecond, _) => number::<TimestampMillisecondType, 8>(t, long),
        DataType::Timestamp(TimeUnit::Microsecond, _) => number::<TimestampMicrosecondType, 8>(t, long),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => number::<TimestampNanosecondType, 8>(t, long),
        DataType::Duration(TimeUnit::Millisecond) => number::<DurationMillisecondType, 8>(t, long),
        DataType::Interval(IntervalUnit::YearMonth) => number::<IntervalYearMonthType, 4>(t, int),
        DataType::Decimal128(..) => {
            number::<Decimal128Type, 16>(t, |b| (u128::from_be_bytes(b) ^ (1 << 127)) as i128)
        }
        DataType::Utf8 => Box::new(Texts(StringBuilder::new())),
        DataType::Binary => Box::new(BinaryBuilder::new()),
        DataType::Struct(fields) => Box::new(Structs {
            fields: fields.clone(),
            children: fields
                .iter()
                .map(|f| column(f.data_type()))
                .collect::<Result<_>>()?,
            valid: Vec::new(),
        }),
        DataType::List(item) => Box::new(Lists::new(item.clone(), None)?),
        DataType::Map(entries, sorted) => Box::new(Lists::new(entries.clone(), Some(*sorted))?),
        other => return Err(Error::internal(format!("rows of type {other} have no encoding"))),
    })
}

fn int(bytes: [u8; 4]) -> i32 {
    (u32::from_be_bytes(bytes) ^ (1 << 31)) as i32
}

fn long(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64
}

struct Nulls(usize);

impl Column for Nulls {
    fn value(&mut self, _: &mut &[u8]) -> Result<()> {
        Err(damaged())
    }

    fn null(&mut self) {
        self.0 += 1;
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(NullArray::new(std::mem::take(&mut self.0))))
    }
}

/// An integer as a native value, if it fits.
type FromInteger<T> = fn(i64) -> Option<<T as ArrowPrimitiveType>::Native>;

struct Numbers<T: ArrowPrimitiveType, const N: usize> {
    values: PrimitiveBuilder<T>,
    read: fn([u8; N]) -> T::Native,
    /// Of types that are written in few bytes.
    integer: Option<FromInteger<T>>,
}

impl<T: ArrowPrimitiveType, const N: usize> Column for Numbers<T, N> {
    fn value(&mut self, bytes: &mut &[u8]) -> Result<()> {
        self.values.append_value((self.read)(take(bytes)?));
        Ok(())
    }

    fn integer(&mut self, value: i64) -> Result<()> {
        let native = self.integer.and_then(|integer| integer(value));
        self.values.append_value(native.ok_or_else(damaged)?);
        Ok(())
    }

    fn null(&mut self) {
        self.values.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.values.finish()))
    }
}

impl Column for BooleanBuilder {
    fn value(&mut self, bytes: &mut &[u8]) -> Result<()> {
        match take(bytes)? {
            [0] => self.append_value(false),
            [1] => self.append_value(true),
            _ => return Err(damaged()),
        }
        Ok(())
    }

    fn null(&mut self) {
        self.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanBuilder::finish(self)))
    }
}

impl Column for BinaryBuilder {
    fn value(&mut self, bytes: &mut &[u8]) -> Result<()> {
        unescaped(bytes, |part| {
            // Writing to the builder's buffer cannot fail.
            let _ = std::io::Write::write_all(self, part);
            Ok(())
        })?;
        self.append_value([]);
        Ok(())
    }

    fn null(&mut self) {
        self.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(BinaryBuilder::finish(self)))
    }
}

struct Texts(StringBuilder);

impl Column for Texts {
    fn value(&mut self, bytes: &mut &[u8]) -> Result<()> {
        unescaped(bytes, |part| {
            let text = std::str::from_utf8(part).map_err(|_| damaged())?;
            let _ = std::fmt::Write::write_str(&mut self.0, text);
            Ok(())
        })?;
        self.0.append_value("");
        Ok(())
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.0.finish()))
    }
}

/// Gives the parts of an escaped value; what divides them are its zeros, each given with what is
/// before it.
fn unescaped(bytes: &mut &[u8], mut part: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    loop {
        let zero = bytes.iter().position(|b| *b == 0).ok_or_else(damaged)?;
        match bytes.get(zero + 1) {
            Some(0) => {
                part(&bytes[..zero])?;
                *bytes = &bytes[zero + 2..];
                return Ok(());
            }
            Some(0xff) => {
                part(&bytes[..=zero])?;
                *bytes = &bytes[zero + 2..];
            }
            _ => return Err(damaged()),
        }
    }
}

struct Structs {
    fields: Fields,
    children: Vec<Box<dyn Column>>,
    valid: Vec<bool>,
}

impl Column for Structs {
    fn value(&mut self, bytes: &mut &[u8]) -> Result<()> {
        self.valid.push(true);
        self.children
            .iter_mut()
            .try_for_each(|child| push(child.as_mut(), bytes))
    }

    fn null(&mut self) {
        self.valid.push(false);
        self.children.iter_mut().for_each(|child| child.null());
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let valid = std::mem::take(&mut self.valid);
        let columns = self
            .children
            .iter_mut()
            .map(|c| c.finish())
            .collect::<Result<Vec<_>>>()?;
        if columns.is_empty() {
            let nulls = nulls(&valid);
            return Ok(Arc::new(StructArray::new_empty_fields(valid.len(), nulls)));
        }
        // Below a null a NOT NULL field has nulls, which is allowed there.
        StructArray::try_new(self.fields.clone(), columns, nulls(&valid))
            .map(|array| Arc::new(array) as ArrayRef)
            .map_err(|e| damaged().with_source(e))
    }
}

/// Lists, and maps as lists of entries.
struct Lists {
    item: FieldRef,
    /// Of a map, whether its keys are sorted.
    map: Option<bool>,
    child: Box<dyn Column>,
    offsets: Vec<i32>,
    length: i32,
    valid: Vec<bool>,
}

impl Lists {
    fn new(item: FieldRef, map: Option<bool>) -> Result<Self> {
        Ok(Lists {
            child: column(item.data_type())?,
            item,
            map,
            offsets: vec![0],
            length: 0,
            valid: Vec::new(),
        })
    }
}

impl Column for Lists {
    fn value(&mut self, bytes: &mut &[u8]) -> Result<()> {
        loop {
            match take::<1>(bytes)? {
                [END] => break,
                [ELEMENT] => push(self.child.as_mut(), bytes)?,
                _ => return Err(damaged()),
            }
            self.length = self.length.checked_add(1).ok_or_else(damaged)?;
        }
        self.offsets.push(self.length);
        self.valid.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.offsets.push(self.length);
        self.valid.push(false);
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let valid = std::mem::take(&mut self.valid);
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into());
        self.length = 0;
        let child = self.child.finish()?;
        let wrong = |e| damaged().with_source(e);
        let array: ArrayRef = match self.map {
            None => {
                Arc::new(ListArray::try_new(self.item.clone(), offsets, child, nulls(&valid)).map_err(wrong)?)
            }
            Some(sorted) => {
                let entries = arrow::array::AsArray::as_struct_opt(&child).ok_or_else(damaged)?;
                Arc::new(
                    MapArray::try_new(self.item.clone(), offsets, entries.clone(), nulls(&valid), sorted)
                        .map_err(wrong)?,
                )
            }
        };
        Ok(array)
    }
}

fn nulls(valid: &[bool]) -> Option<NullBuffer> {
    valid.contains(&false).then(|| NullBuffer::from(valid.to_vec()))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk::<N>().ok_or_else(damaged)?;
    *bytes = tail;
    Ok(*head)
}

fn damaged() -> Error {
    Error::data_loss("stored rows do not have the form of their types")
        .with_hint("they were altered, or written for other types: restore another checkpoint or savepoint")
}
