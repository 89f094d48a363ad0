//! Columns to records, as Flink's `JsonRowDataSerializationSchema` writes them.
//!
//! Row kinds are not written: a connector that takes a changelog decides what a deletion is, and
//! formats of changelogs (`debezium`) write them around the object.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    Date32Type, DurationMillisecondType, IntervalYearMonthType, Time32MillisecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::{Encoder, Payloads};
use millrace_core::{Error, Result};
use millrace_expr::types::timestamp_unit;
use millrace_expr::{DataType, Field, RowType, TypeKind};

use super::escape;
use crate::column::check_type;
use crate::number;
use crate::time::{self, Standard};

/// What a null key of a map becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NullKey {
    Fail,
    Drop,
    Literal(String),
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub timestamps: Standard,
    pub null_key: NullKey,
    pub plain_decimals: bool,
    pub ignore_null_fields: bool,
}

pub struct JsonEncoder {
    fields: Vec<Field>,
    settings: Settings,
}

impl JsonEncoder {
    pub fn new(fields: &RowType, settings: Settings) -> Self {
        JsonEncoder {
            fields: fields.fields.clone(),
            settings,
        }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        let columns = members(&self.fields, batch)?;
        each_row(batch.len(), columns.len(), out, |row, data| {
            object(&columns, row, data, &self.settings)
        })
    }
}

/// A batch's columns as the members of an object.
pub(super) fn members<'a>(fields: &[Field], batch: &'a ChangeBatch) -> Result<Vec<Member<'a>>> {
    if batch.rows.num_columns() < fields.len() {
        return Err(Error::internal(
            "a batch has fewer columns than its format writes",
        ));
    }
    fields
        .iter()
        .zip(batch.rows.columns())
        .enumerate()
        .map(|(i, (field, array))| {
            check_type(array.as_ref(), field)?;
            Member::new(field, array.as_ref(), i == 0)
        })
        .collect()
}

/// Appends a payload a row, each as `write` writes it.
pub(super) fn each_row(
    rows: usize,
    columns: usize,
    out: &mut Payloads,
    mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    out.offsets.reserve(rows);
    out.data.reserve(rows * 16 * (columns + 1));
    for row in 0..rows {
        write(row, &mut out.data)?;
        if out.data.len() > u32::MAX as usize {
            return Err(Error::user("a batch's payloads exceed 4 GiB")
                .with_hint("set millrace.batch.max-rows to a smaller number"));
        }
        out.offsets.push(out.data.len() as u32);
    }
    Ok(())
}

/// One field of an object: its key as it is written, and its values.
pub(super) struct Member<'a> {
    /// `{"id":` for the first, `,"id":` for others.
    key: Vec<u8>,
    name: String,
    column: Column<'a>,
    nulls: Option<&'a NullBuffer>,
}

impl<'a> Member<'a> {
    fn new(field: &Field, array: &'a dyn Array, first: bool) -> Result<Self> {
        let mut key = vec![if first { b'{' } else { b',' }];
        escape::write(&mut key, field.name.as_bytes());
        key.push(b':');
        let column = Column::new(&field.data_type, array)?;
        Ok(Member {
            key,
            name: field.name.clone(),
            column,
            nulls: array.nulls(),
        })
    }
}

/// A column's values, its array's type resolved once a batch.
enum Column<'a> {
    Null,
    Boolean(&'a BooleanArray),
    TinyInt(&'a Int8Array),
    SmallInt(&'a Int16Array),
    Int(&'a [i32]),
    BigInt(&'a [i64]),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array, u8),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a [i32]),
    Time(&'a [i32]),
    Timestamp {
        values: &'a [i64],
        unit: TimeUnit,
        zoned: bool,
    },
    Array {
        offsets: &'a [i32],
        nulls: Option<&'a NullBuffer>,
        item: Box<Column<'a>>,
    },
    Map {
        offsets: &'a [i32],
        keys: &'a StringArray,
        nulls: Option<&'a NullBuffer>,
        value: Box<Column<'a>>,
    },
    Row(Vec<Member<'a>>),
}

impl<'a> Column<'a> {
    /// The array has the type's Arrow form (`check_type` has looked).
    fn new(data_type: &DataType, array: &'a dyn Array) -> Result<Self> {
        Ok(match &data_type.kind {
            TypeKind::Null => Column::Null,
            TypeKind::Boolean => Column::Boolean(array.as_boolean()),
            TypeKind::TinyInt => Column::TinyInt(array.as_primitive()),
            TypeKind::SmallInt => Column::SmallInt(array.as_primitive()),
            TypeKind::Int => {
                let ints: &'a Int32Array = array.as_primitive();
                Column::Int(ints.values())
            }
            TypeKind::BigInt => {
                let longs: &'a Int64Array = array.as_primitive();
                Column::BigInt(longs.values())
            }
            TypeKind::Float => Column::Float(array.as_primitive()),
            TypeKind::Double => Column::Double(array.as_primitive()),
            TypeKind::Decimal { scale, .. } => Column::Decimal(array.as_primitive(), *scale),
            TypeKind::Char(_) | TypeKind::Varchar(_) => Column::Text(array.as_string()),
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Column::Bytes(array.as_binary()),
            TypeKind::Date => Column::Date(array.as_primitive::<Date32Type>().values()),
            TypeKind::Time(_) => Column::Time(array.as_primitive::<Time32MillisecondType>().values()),
            TypeKind::Timestamp(p) => stamps(array, *p, false),
            TypeKind::TimestampLtz(p) => stamps(array, *p, true),
            TypeKind::IntervalYearMonth => {
                Column::Int(array.as_primitive::<IntervalYearMonthType>().values())
            }
            TypeKind::IntervalDaySecond => {
                Column::BigInt(array.as_primitive::<DurationMillisecondType>().values())
            }
            TypeKind::Array(element) => {
                let list = array.as_list::<i32>();
                Column::Array {
                    offsets: list.value_offsets(),
                    nulls: list.values().nulls(),
                    item: Box::new(Column::new(element, list.values().as_ref())?),
                }
            }
            TypeKind::Map(key, value) => map(key, value, array)?,
            TypeKind::Multiset(element) => map(element, &DataType::not_null(TypeKind::Int), array)?,
            TypeKind::Row(fields) => {
                let row = array.as_struct();
                let members = fields.iter().zip(row.columns()).enumerate();
                Column::Row(
                    members
                        .map(|(i, (f, a))| Member::new(f, a.as_ref(), i == 0))
                        .collect::<Result<Vec<_>>>()?,
                )
            }
        })
    }
}

fn stamps(array: &dyn Array, precision: u8, zoned: bool) -> Column<'_> {
    let unit = timestamp_unit(precision);
    let values: &[i64] = match unit {
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
        _ => array.as_primitive::<TimestampNanosecondType>().values(),
    };
    Column::Timestamp { values, unit, zoned }
}

fn map<'a>(key: &DataType, value: &DataType, array: &'a dyn Array) -> Result<Column<'a>> {
    if !key.is_string() {
        return Err(Error::internal(
            "a map without string keys reaches the JSON format",
        ));
    }
    let map = array.as_map();
    Ok(Column::Map {
        offsets: map.value_offsets(),
        keys: map.keys().as_string(),
        nulls: map.values().nulls(),
        value: Box::new(Column::new(value, map.values().as_ref())?),
    })
}

fn is_null(nulls: Option<&NullBuffer>, row: usize) -> bool {
    nulls.is_some_and(|n| n.is_null(row))
}

pub(super) fn object(
    members: &[Member<'_>],
    row: usize,
    out: &mut Vec<u8>,
    settings: &Settings,
) -> Result<()> {
    let begin = out.len();
    for member in members {
        let null = is_null(member.nulls, row);
        if null && settings.ignore_null_fields {
            continue;
        }
        let at = out.len();
        out.extend_from_slice(&member.key);
        if at == begin {
            out[at] = b'{';
        }
        if null {
            out.extend_from_slice(b"null");
        } else {
            value(&member.column, row, out, settings).map_err(|e| {
                if e.detail().is_some() {
                    e
                } else {
                    e.with_detail(format!("field '{}'", member.name))
                }
            })?;
        }
    }
    if out.len() == begin {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(())
}

#[inline]
fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
fn value(column: &Column<'_>, row: usize, out: &mut Vec<u8>, settings: &Settings) -> Result<()> {
    match column {
        Column::Null => out.extend_from_slice(b"null"),
        Column::Boolean(a) => out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }),
        Column::TinyInt(a) => integer(out, a.value(row)),
        Column::SmallInt(a) => integer(out, a.value(row)),
        Column::Int(a) => integer(out, a[row]),
        Column::BigInt(a) => integer(out, a[row]),
        Column::Float(a) => {
            let v = a.value(row);
            quoted_unless(out, v.is_finite(), |out| number::write_float(out, v));
        }
        Column::Double(a) => {
            let v = a.value(row);
            quoted_unless(out, v.is_finite(), |out| number::write_double(out, v));
        }
        Column::Decimal(a, scale) if settings.plain_decimals => {
            number::write_decimal_plain(out, a.value(row), *scale)
        }
        Column::Decimal(a, scale) => number::write_decimal_stripped(out, a.value(row), *scale),
        Column::Text(a) => escape::write(out, a.value(row).as_bytes()),
        Column::Bytes(a) => {
            let bytes = a.value(row);
            out.push(b'"');
            let begin = out.len();
            out.resize(begin + bytes.len().div_ceil(3) * 4, 0);
            let written = STANDARD
                .encode_slice(bytes, &mut out[begin..])
                .map_err(|e| Error::internal("base64 does not fit").with_source(e))?;
            out.truncate(begin + written);
            out.push(b'"');
        }
        Column::Date(a) => quoted_unless(out, false, |out| time::write_date(out, i64::from(a[row]))),
        // Flink's JSON has no fractions of a second in a TIME.
        Column::Time(a) => quoted_unless(out, false, |out| {
            time::write_time(out, a[row] - a[row].rem_euclid(1000))
        }),
        Column::Timestamp { values, unit, zoned } => quoted_unless(out, false, |out| {
            time::write_timestamp(out, values[row], *unit, settings.timestamps, *zoned);
        }),
        Column::Array { offsets, nulls, item } => {
            out.push(b'[');
            for (i, at) in (offsets[row]..offsets[row + 1]).enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                if is_null(*nulls, at as usize) {
                    out.extend_from_slice(b"null");
                } else {
                    value(item, at as usize, out, settings)?;
                }
            }
            out.push(b']');
        }
        Column::Map {
            offsets,
            keys,
            nulls,
            value: values,
        } => {
            entries(
                keys,
                offsets[row]..offsets[row + 1],
                *nulls,
                values,
                out,
                settings,
            )?;
        }
        Column::Row(members) => object(members, row, out, settings)?,
    }
    Ok(())
}

fn entries(
    keys: &StringArray,
    range: std::ops::Range<i32>,
    nulls: Option<&NullBuffer>,
    values: &Column<'_>,
    out: &mut Vec<u8>,
    settings: &Settings,
) -> Result<()> {
    out.push(b'{');
    let mut first = true;
    for at in range {
        let at = at as usize;
        let key = if keys.is_null(at) {
            match &settings.null_key {
                NullKey::Fail => {
                    return Err(Error::user("a map has a null key, which JSON cannot have").with_hint(
                        "'json.map-null-key.mode' = 'DROP' leaves such entries out, 'LITERAL' gives them a key",
                    ));
                }
                NullKey::Drop => continue,
                NullKey::Literal(literal) => literal.as_str(),
            }
        } else {
            keys.value(at)
        };
        if !first {
            out.push(b',');
        }
        first = false;
        escape::write(out, key.as_bytes());
        out.push(b':');
        if is_null(nulls, at) {
            out.extend_from_slice(b"null");
        } else {
            value(values, at, out, settings)?;
        }
    }
    out.push(b'}');
    Ok(())
}

#[inline]
fn quoted_unless(out: &mut Vec<u8>, bare: bool, write: impl FnOnce(&mut Vec<u8>)) {
    if bare {
        write(out);
    } else {
        out.push(b'"');
        write(out);
        out.push(b'"');
    }
}
