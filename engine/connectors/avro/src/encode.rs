//! Columns to records (specification, "Binary Encoding"), as Flink's `RowDataToAvroConverters` reads them.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::Payloads;
use millrace_core::{Error, Result};
use millrace_expr::types::timestamp_unit;
use millrace_expr::{DataType, Field, TypeKind};
use millrace_formats::check_type;

use crate::schema::{Logical, Schema, Shape, Type};

/// How a column's values are written.
#[derive(Debug)]
enum Write {
    Boolean,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    Text,
    Bytes,
    Date,
    Time,
    /// From the column's unit, to micros or else to millis.
    Timestamp {
        unit: TimeUnit,
        micros: bool,
    },
    Decimal,
    Array(Box<Slot>),
    Map(Box<Slot>),
    Record(Vec<Slot>),
}

/// A place for a value or none.
#[derive(Debug)]
struct Slot {
    name: String,
    /// The variants of a union: that of null, and the value's.
    union: Option<(i64, i64)>,
    write: Write,
}

pub struct Records {
    fields: Vec<Field>,
    slots: Vec<Slot>,
}

fn misfit(of: &Type, field: &Field) -> Error {
    Error::unsupported("an Avro schema with this type for a column that is written").with_detail(format!(
        "column '{}' of type {} as {}",
        field.name,
        field.data_type,
        of.name()
    ))
}

impl Records {
    /// For columns that are the schema's fields, in its order.
    pub fn new(schema: &Schema, fields: &[Field]) -> Result<Self> {
        let Shape::Record(number) = schema.root.shape else {
            return Err(Error::unsupported("an Avro schema that is no record"));
        };
        Ok(Records {
            fields: fields.to_vec(),
            slots: slots(schema, number, fields)?,
        })
    }

    /// Appends a payload a row, each behind `head`.
    pub fn encode(&self, head: &[u8], batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        if batch.rows.num_columns() < self.fields.len() {
            return Err(Error::internal(
                "a batch has fewer columns than its format writes",
            ));
        }
        for (field, array) in self.fields.iter().zip(batch.rows.columns()) {
            check_type(array.as_ref(), field)?;
        }
        let columns: Vec<&dyn Array> = batch.rows.columns().iter().map(|c| c.as_ref()).collect();
        for row in 0..batch.len() {
            out.data.extend_from_slice(head);
            for (slot, array) in self.slots.iter().zip(&columns) {
                slot.write(*array, row, &mut out.data)?;
            }
            if out.data.len() > u32::MAX as usize {
                return Err(Error::user("a batch's payloads exceed 4 GiB")
                    .with_hint("set millrace.batch.max-rows to a smaller number"));
            }
            out.offsets.push(out.data.len() as u32);
        }
        Ok(())
    }
}

fn slots(schema: &Schema, number: usize, fields: &[Field]) -> Result<Vec<Slot>> {
    let of = &schema.records[number].fields;
    if of.len() != fields.len() || of.iter().zip(fields).any(|(of, field)| of.name != field.name) {
        return Err(
            Error::user("an Avro schema has other fields than the columns that are written")
                .with_detail(format!("the record '{}'", schema.records[number].name)),
        );
    }
    of.iter()
        .zip(fields)
        .map(|(of, field)| slot(schema, &of.of, field))
        .collect()
}

fn slot(schema: &Schema, of: &Type, field: &Field) -> Result<Slot> {
    let (of, union) = match &of.shape {
        Shape::Union(variants) => {
            let null = variants.iter().position(|v| matches!(v.shape, Shape::Null));
            let value = variants.iter().position(|v| !matches!(v.shape, Shape::Null));
            match (null, value, variants.len()) {
                (Some(null), Some(value), 2) => (&variants[value], Some((null as i64, value as i64))),
                _ => return Err(misfit(of, field)),
            }
        }
        _ => (of, None),
    };
    if union.is_none() && field.data_type.nullable {
        return Err(
            Error::user("a column may be null, and its Avro schema has no null")
                .with_detail(format!("column '{}' of type {}", field.name, field.data_type))
                .with_hint("declare the column NOT NULL, or take a union with null"),
        );
    }
    let inner = |name: &str, data_type: &DataType, of: &Type| {
        slot(schema, of, &Field::new(name, data_type.clone())).map(Box::new)
    };
    let write = match (&field.data_type.kind, &of.shape) {
        (TypeKind::Boolean, Shape::Boolean) => Write::Boolean,
        (TypeKind::TinyInt, Shape::Int) => Write::TinyInt,
        (TypeKind::SmallInt, Shape::Int) => Write::SmallInt,
        (TypeKind::Int, Shape::Int) => Write::Int,
        (TypeKind::BigInt, Shape::Long) => Write::BigInt,
        (TypeKind::Float, Shape::Float) => Write::Float,
        (TypeKind::Double, Shape::Double) => Write::Double,
        (TypeKind::Char(_) | TypeKind::Varchar(_), Shape::String) => Write::Text,
        (TypeKind::Binary(_) | TypeKind::Varbinary(_), Shape::Bytes) => Write::Bytes,
        (TypeKind::Date, Shape::Int) => Write::Date,
        (TypeKind::Time(_), Shape::Int) => Write::Time,
        (TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p), Shape::Long) => Write::Timestamp {
            unit: timestamp_unit(*p),
            micros: matches!(
                of.logical,
                Some(Logical::TimestampMicros | Logical::LocalTimestampMicros)
            ),
        },
        (TypeKind::Decimal { .. }, Shape::Bytes) => Write::Decimal,
        (TypeKind::Array(element), Shape::Array(items)) => Write::Array(inner("element", element, items)?),
        (TypeKind::Map(_, value), Shape::Map(values)) => Write::Map(inner("value", value, values)?),
        (TypeKind::Multiset(_), Shape::Map(values)) => {
            Write::Map(inner("count", &DataType::not_null(TypeKind::Int), values)?)
        }
        (TypeKind::Row(fields), Shape::Record(number)) => Write::Record(slots(schema, *number, fields)?),
        _ => return Err(misfit(of, field)),
    };
    Ok(Slot {
        name: field.name.clone(),
        union,
        write,
    })
}

/// Zig-zag, seven bits a byte, the lowest first.
pub fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    long(value.len() as i64, out);
    out.extend_from_slice(value);
}

/// As few bytes of two's complement as hold the value, the highest first: Java's `toByteArray`.
fn decimal(unscaled: i128, out: &mut Vec<u8>) {
    let wide = unscaled.to_be_bytes();
    let fill = if unscaled < 0 { 0xff } else { 0 };
    let is_sign = |i: usize| wide[i] == fill && (wide[i + 1] ^ fill) & 0x80 == 0;
    let first = (0..15).find(|&i| !is_sign(i)).unwrap_or(15);
    bytes(&wide[first..], out);
}

impl Slot {
    fn write(&self, array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let is_null = array.is_null(row);
        match self.union {
            Some((null, _)) if is_null => {
                long(null, out);
                return Ok(());
            }
            Some((_, value)) => long(value, out),
            None if is_null => {
                return Err(Error::user("a null is written where an Avro schema has none")
                    .with_detail(format!("field '{}'", self.name)));
            }
            None => {}
        }
        match &self.write {
            Write::Boolean => out.push(u8::from(array.as_boolean().value(row))),
            Write::TinyInt => long(i64::from(array.as_primitive::<Int8Type>().value(row)), out),
            Write::SmallInt => long(i64::from(array.as_primitive::<Int16Type>().value(row)), out),
            Write::Int => long(i64::from(array.as_primitive::<Int32Type>().value(row)), out),
            Write::BigInt => long(array.as_primitive::<Int64Type>().value(row), out),
            Write::Float => {
                out.extend_from_slice(&array.as_primitive::<Float32Type>().value(row).to_le_bytes());
            }
            Write::Double => {
                out.extend_from_slice(&array.as_primitive::<Float64Type>().value(row).to_le_bytes());
            }
            Write::Text => bytes(array.as_string::<i32>().value(row).as_bytes(), out),
            Write::Bytes => bytes(array.as_binary::<i32>().value(row), out),
            Write::Date => long(i64::from(array.as_primitive::<Date32Type>().value(row)), out),
            Write::Time => {
                long(
                    i64::from(array.as_primitive::<Time32MillisecondType>().value(row)),
                    out,
                );
            }
            Write::Timestamp { unit, micros } => {
                let (value, units_per_milli) = match unit {
                    TimeUnit::Microsecond => {
                        (array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000)
                    }
                    TimeUnit::Nanosecond => (
                        array.as_primitive::<TimestampNanosecondType>().value(row),
                        1_000_000,
                    ),
                    _ => (array.as_primitive::<TimestampMillisecondType>().value(row), 1),
                };
                let written = match micros {
                    false => value.div_euclid(units_per_milli),
                    true if units_per_milli == 1 => value.checked_mul(1_000).ok_or_else(|| {
                        Error::user("a timestamp is too far from 1970 for microseconds")
                            .with_detail(format!("field '{}'", self.name))
                    })?,
                    true => value.div_euclid(units_per_milli / 1_000),
                };
                long(written, out);
            }
            Write::Decimal => decimal(array.as_primitive::<Decimal128Type>().value(row), out),
            Write::Array(item) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets();
                let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
                if to > from {
                    long((to - from) as i64, out);
                    for at in from..to {
                        item.write(list.values().as_ref(), at, out)?;
                    }
                }
                long(0, out);
            }
            Write::Map(item) => {
                let map = array.as_map();
                let offsets = map.value_offsets();
                let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
                let keys = map.keys().as_string::<i32>();
                if to > from {
                    long((to - from) as i64, out);
                    for at in from..to {
                        if keys.is_null(at) {
                            return Err(Error::user("a map has a null key, which Avro cannot have")
                                .with_detail(format!("field '{}'", self.name)));
                        }
                        bytes(keys.value(at).as_bytes(), out);
                        item.write(map.values().as_ref(), at, out)?;
                    }
                }
                long(0, out);
            }
            Write::Record(slots) => {
                let row_of = array.as_struct();
                for (slot, column) in slots.iter().zip(row_of.columns()) {
                    slot.write(column.as_ref(), row, out)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_as_short_as_javas() {
        let written = |value: i128| {
            let mut out = Vec::new();
            decimal(value, &mut out);
            out
        };
        assert_eq!(written(0), [2, 0]);
        assert_eq!(written(-1), [2, 0xff]);
        assert_eq!(written(127), [2, 0x7f]);
        assert_eq!(written(128), [4, 0, 0x80]);
        assert_eq!(written(-128), [2, 0x80]);
        assert_eq!(written(-129), [4, 0xff, 0x7f]);
        assert_eq!(written(i128::MAX).len(), 17);
    }
}
