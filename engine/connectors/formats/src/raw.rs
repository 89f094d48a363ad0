//! The format `raw`: a record is one value in its bytes, as Flink's `RawFormatFactory` has it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use millrace_connector_api::format::{DecodeError, Decoded, Decoder, Encoder, Format, Payloads};
use millrace_connector_api::{ChangeBatch, OptionSpec, Options};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::text::charset::{self, Charset};
use millrace_expr::{Field, RowType, TypeKind};

use crate::column::{Column, Values, check_type};
use crate::options::Prefixed;

pub struct Raw;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::optional(
        "charset",
        Some("UTF-8"),
        "UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE or UTF-16LE",
    ),
    OptionSpec::optional(
        "endianness",
        Some("big-endian"),
        "the order of a number's bytes: big-endian or little-endian",
    ),
];

#[derive(Debug, Clone, Copy)]
struct Settings {
    charset: Charset,
    little_endian: bool,
}

impl Settings {
    fn new(table: &TableSpec, prefix: &str) -> Result<Self> {
        let options = Prefixed::new(Options::new(&table.name, &table.options), prefix);
        let orders = [("big-endian", false), ("little-endian", true)];
        Ok(Settings {
            charset: options
                .choice("charset", charset::NAMES)?
                .unwrap_or(Charset::Utf8),
            little_endian: options.choice("endianness", &orders)?.unwrap_or(false),
        })
    }
}

/// The one column, of a type that is bytes by itself.
fn single<'a>(table: &TableSpec, fields: &'a [Field]) -> Result<&'a Field> {
    let [field] = fields else {
        let names: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
        return Err(
            Error::user("the raw format takes exactly one column").with_detail(format!(
                "table '{}' has {} for it: {}",
                table.name,
                fields.len(),
                names.join(", ")
            )),
        );
    };
    match field.data_type.kind {
        TypeKind::Char(_)
        | TypeKind::Varchar(_)
        | TypeKind::Binary(_)
        | TypeKind::Varbinary(_)
        | TypeKind::Boolean
        | TypeKind::TinyInt
        | TypeKind::SmallInt
        | TypeKind::Int
        | TypeKind::BigInt
        | TypeKind::Float
        | TypeKind::Double => Ok(field),
        _ => Err(Error::user("the raw format cannot carry this type")
            .with_detail(format!(
                "table '{}', column '{}' of type {}",
                table.name, field.name, field.data_type
            ))
            .with_hint("it takes strings, bytes, BOOLEAN, whole numbers, FLOAT and DOUBLE")),
    }
}

impl Format for Raw {
    fn identifier(&self) -> &'static str {
        "raw"
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn decoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Decoder>> {
        let field = single(table, &fields.fields)?;
        let settings = Settings::new(table, prefix)?;
        Ok(Box::new(RawDecoder {
            column: Column::new(&field.data_type),
            name: field.name.clone(),
            settings,
        }))
    }

    fn encoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Encoder>> {
        let field = single(table, &fields.fields)?.clone();
        Ok(Box::new(RawEncoder {
            field,
            settings: Settings::new(table, prefix)?,
        }))
    }

    fn validate(&self, table: &TableSpec, prefix: &str, fields: &[Field]) -> Result<()> {
        single(table, fields)?;
        Settings::new(table, prefix).map(|_| ())
    }
}

struct RawDecoder {
    column: Column,
    name: String,
    settings: Settings,
}

impl RawDecoder {
    /// All payloads at once, where their bytes are the column's and none is null. `None` leaves them
    /// to be taken one by one, a text that is no UTF-8 among them.
    fn whole(&self, payloads: &Payloads) -> Option<ArrayRef> {
        if !payloads.nulls.is_empty() || payloads.data.len() > i32::MAX as usize {
            return None;
        }
        let text = match &self.column.values {
            Values::Text(_) if self.settings.charset == Charset::Utf8 => true,
            Values::Bytes(_) => false,
            _ => return None,
        };
        let offsets: Vec<i32> = payloads.offsets.iter().map(|&o| o as i32).collect();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let data = Buffer::from(payloads.data.as_slice());
        Some(if text {
            Arc::new(StringArray::try_new(offsets, data, None).ok()?)
        } else {
            Arc::new(BinaryArray::try_new(offsets, data, None).ok()?)
        })
    }

    fn one_by_one(&mut self, payloads: &Payloads) -> Result<ArrayRef, DecodeError> {
        self.column.reserve(payloads.len());
        for i in 0..payloads.len() {
            let read = match payloads.get(i) {
                None if self.column.data_type.nullable => {
                    self.column.push_null();
                    Ok(())
                }
                None => Err("a null record, and the column is NOT NULL".to_owned()),
                Some(bytes) => value(&mut self.column, bytes, self.settings),
            };
            if let Err(what) = read {
                self.column.truncate(0);
                let error = Error::user("a raw record does not fit the table")
                    .with_detail(format!("column '{}': {what}", self.name));
                return Err(DecodeError { payload: i, error });
            }
        }
        self.column
            .finish()
            .map_err(|error| DecodeError { payload: 0, error })
    }
}

impl Decoder for RawDecoder {
    /// Every payload gives a row; a null payload one with NULL.
    fn decode(&mut self, payloads: &Payloads) -> Result<Decoded, DecodeError> {
        let column = match self.whole(payloads) {
            Some(column) => column,
            None => self.one_by_one(payloads)?,
        };
        Ok(Decoded {
            columns: vec![column],
            rows: payloads.len(),
            kinds: None,
            row_sources: None,
            skipped: 0,
        })
    }
}

fn value(column: &mut Column, bytes: &[u8], settings: Settings) -> Result<(), String> {
    let little = settings.little_endian;
    match &mut column.values {
        Values::Text(v) => {
            charset::read(&mut v.data, bytes, settings.charset);
            v.close();
        }
        Values::Bytes(v) => v.push(bytes),
        Values::Boolean(v) => v.push(exactly::<1>(bytes)?[0] != 0),
        Values::TinyInt(v) => v.push(exactly::<1>(bytes)?[0] as i8),
        Values::SmallInt(v) => v.push(i16::from_be_bytes(ordered(bytes, little)?)),
        Values::Int(v) => v.push(i32::from_be_bytes(ordered(bytes, little)?)),
        Values::BigInt(v) => v.push(i64::from_be_bytes(ordered(bytes, little)?)),
        Values::Float(v) => v.push(f32::from_be_bytes(ordered(bytes, little)?)),
        Values::Double(v) => v.push(f64::from_be_bytes(ordered(bytes, little)?)),
        _ => return Err("a type that raw cannot carry".to_owned()),
    }
    Ok(())
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes
        .try_into()
        .map_err(|_| format!("{} bytes, where its type has {N}", bytes.len()))
}

/// The bytes in big-endian order.
fn ordered<const N: usize>(bytes: &[u8], little_endian: bool) -> Result<[u8; N], String> {
    let mut bytes: [u8; N] = exactly(bytes)?;
    if little_endian {
        bytes.reverse();
    }
    Ok(bytes)
}

struct RawEncoder {
    field: Field,
    settings: Settings,
}

impl Encoder for RawEncoder {
    /// NULL gives a null payload.
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        let Some(array) = batch.rows.columns().first() else {
            return Err(Error::internal(
                "a batch has fewer columns than its format writes",
            ));
        };
        check_type(array.as_ref(), &self.field)?;
        if let Some((offsets, data)) = self.whole(array.as_ref()) {
            return append(offsets, data, out);
        }
        for row in 0..batch.len() {
            if array.is_null(row) {
                out.push(None);
                continue;
            }
            self.value(array.as_ref(), row, &mut out.data)?;
            if out.data.len() > u32::MAX as usize {
                return Err(too_large());
            }
            out.offsets.push(out.data.len() as u32);
        }
        Ok(())
    }
}

/// Values that are payloads as they are: `data[offsets[i]..offsets[i + 1]]`.
fn append(offsets: &[i32], data: &[u8], out: &mut Payloads) -> Result<()> {
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return Ok(());
    };
    let begin = out.data.len();
    out.data.extend_from_slice(&data[first as usize..last as usize]);
    if out.data.len() > u32::MAX as usize {
        return Err(too_large());
    }
    let place = |&offset: &i32| begin as u32 + (offset - first) as u32;
    out.offsets.extend(offsets[1..].iter().map(place));
    Ok(())
}

#[cold]
fn too_large() -> Error {
    Error::user("a batch's payloads exceed 4 GiB")
        .with_hint("set millrace.batch.max-rows to a smaller number")
}

impl RawEncoder {
    /// Offsets and bytes of a column without nulls whose bytes are the payloads.
    fn whole<'a>(&self, array: &'a dyn Array) -> Option<(&'a [i32], &'a [u8])> {
        if array.null_count() > 0 {
            return None;
        }
        match &self.field.data_type.kind {
            TypeKind::Char(_) | TypeKind::Varchar(_) if self.settings.charset == Charset::Utf8 => {
                let texts = array.as_string::<i32>();
                Some((texts.value_offsets(), texts.value_data()))
            }
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
                let bytes = array.as_binary::<i32>();
                Some((bytes.value_offsets(), bytes.value_data()))
            }
            _ => None,
        }
    }

    fn value(&self, array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match &self.field.data_type.kind {
            TypeKind::Char(_) | TypeKind::Varchar(_) => {
                charset::write(out, array.as_string::<i32>().value(row), self.settings.charset);
            }
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
                out.extend_from_slice(array.as_binary::<i32>().value(row));
            }
            TypeKind::Boolean => out.push(u8::from(array.as_boolean().value(row))),
            TypeKind::TinyInt => out.push(array.as_primitive::<Int8Type>().value(row) as u8),
            TypeKind::SmallInt => {
                self.number(array.as_primitive::<Int16Type>().value(row).to_be_bytes(), out)
            }
            TypeKind::Int => self.number(array.as_primitive::<Int32Type>().value(row).to_be_bytes(), out),
            TypeKind::BigInt => self.number(array.as_primitive::<Int64Type>().value(row).to_be_bytes(), out),
            TypeKind::Float => self.number(array.as_primitive::<Float32Type>().value(row).to_be_bytes(), out),
            TypeKind::Double => {
                self.number(array.as_primitive::<Float64Type>().value(row).to_be_bytes(), out)
            }
            other => {
                return Err(Error::internal(format!(
                    "the raw format meets a column of type {other}"
                )));
            }
        }
        Ok(())
    }

    fn number<const N: usize>(&self, mut bytes: [u8; N], out: &mut Vec<u8>) {
        if self.settings.little_endian {
            bytes.reverse();
        }
        out.extend_from_slice(&bytes);
    }
}
