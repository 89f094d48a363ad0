//! The format `raw`: a record is one value in its bytes, as Flink's `RawFormatFactory` has it.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use millrace_connector_api::format::{DecodeError, Decoded, Decoder, Encoder, Format, Payloads};
use millrace_connector_api::{ChangeBatch, OptionSpec, Options};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charset {
    Utf8,
    Ascii,
    Latin1,
    /// Big-endian unless a byte order mark says otherwise; written with one.
    Utf16,
    Utf16Be,
    Utf16Le,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    charset: Charset,
    little_endian: bool,
}

impl Settings {
    fn new(table: &TableSpec, prefix: &str) -> Result<Self> {
        let options = Prefixed::new(Options::new(&table.name, &table.options), prefix);
        let charsets = [
            ("UTF-8", Charset::Utf8),
            ("UTF8", Charset::Utf8),
            ("US-ASCII", Charset::Ascii),
            ("ASCII", Charset::Ascii),
            ("ISO-8859-1", Charset::Latin1),
            ("ISO8859_1", Charset::Latin1),
            ("latin1", Charset::Latin1),
            ("UTF-16", Charset::Utf16),
            ("UTF-16BE", Charset::Utf16Be),
            ("UTF-16LE", Charset::Utf16Le),
        ];
        let orders = [("big-endian", false), ("little-endian", true)];
        Ok(Settings {
            charset: options.choice("charset", &charsets)?.unwrap_or(Charset::Utf8),
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

impl Decoder for RawDecoder {
    /// Every payload gives a row; a null payload one with NULL.
    fn decode(&mut self, payloads: &Payloads) -> Result<Decoded, DecodeError> {
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
        let column = self
            .column
            .finish()
            .map_err(|error| DecodeError { payload: 0, error })?;
        Ok(Decoded {
            columns: vec![column],
            rows: payloads.len(),
            row_sources: None,
            skipped: 0,
        })
    }
}

fn value(column: &mut Column, bytes: &[u8], settings: Settings) -> Result<(), String> {
    let little = settings.little_endian;
    match &mut column.values {
        Values::Text(v) => return text(&mut v.data, bytes, settings.charset).map(|()| v.close()),
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

fn text(out: &mut Vec<u8>, bytes: &[u8], charset: Charset) -> Result<(), String> {
    match charset {
        Charset::Utf8 => {
            std::str::from_utf8(bytes).map_err(|e| format!("invalid UTF-8 at byte {}", e.valid_up_to()))?;
            out.extend_from_slice(bytes);
        }
        Charset::Ascii => {
            if let Some(at) = bytes.iter().position(|b| !b.is_ascii()) {
                return Err(format!("byte {at} is not ASCII"));
            }
            out.extend_from_slice(bytes);
        }
        Charset::Latin1 => {
            for &b in bytes {
                out.extend_from_slice((b as char).encode_utf8(&mut [0; 2]).as_bytes());
            }
        }
        Charset::Utf16 => match bytes {
            [0xff, 0xfe, rest @ ..] => utf16(out, rest, true)?,
            [0xfe, 0xff, rest @ ..] => utf16(out, rest, false)?,
            _ => utf16(out, bytes, false)?,
        },
        Charset::Utf16Be => utf16(out, bytes, false)?,
        Charset::Utf16Le => utf16(out, bytes, true)?,
    }
    Ok(())
}

fn utf16(out: &mut Vec<u8>, bytes: &[u8], little_endian: bool) -> Result<(), String> {
    if !bytes.len().is_multiple_of(2) {
        return Err(format!("{} bytes are no UTF-16", bytes.len()));
    }
    let units = bytes.chunks_exact(2).map(|pair| {
        let pair = [pair[0], pair[1]];
        if little_endian {
            u16::from_le_bytes(pair)
        } else {
            u16::from_be_bytes(pair)
        }
    });
    for c in char::decode_utf16(units) {
        let c = c.map_err(|_| "half of a surrogate pair".to_owned())?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(())
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
        for row in 0..batch.len() {
            if array.is_null(row) {
                out.push(None);
                continue;
            }
            self.value(array.as_ref(), row, &mut out.data)?;
            if out.data.len() > u32::MAX as usize {
                return Err(Error::user("a batch's payloads exceed 4 GiB")
                    .with_hint("set millrace.batch.max-rows to a smaller number"));
            }
            out.offsets.push(out.data.len() as u32);
        }
        Ok(())
    }
}

impl RawEncoder {
    fn value(&self, array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match &self.field.data_type.kind {
            TypeKind::Char(_) | TypeKind::Varchar(_) => self.text(array.as_string::<i32>().value(row), out),
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

    /// What the charset does not have is written as `?`, as Java does.
    fn text(&self, text: &str, out: &mut Vec<u8>) {
        let narrow = |limit: u32| move |c: char| if (c as u32) < limit { c as u32 as u8 } else { b'?' };
        match self.settings.charset {
            Charset::Utf8 => out.extend_from_slice(text.as_bytes()),
            Charset::Ascii => out.extend(text.chars().map(narrow(0x80))),
            Charset::Latin1 => out.extend(text.chars().map(narrow(0x100))),
            Charset::Utf16 => {
                out.extend_from_slice(&[0xfe, 0xff]);
                out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
            }
            Charset::Utf16Be => out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Charset::Utf16Le => out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
        }
    }
}
