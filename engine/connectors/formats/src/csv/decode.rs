//! Cells to columns, as Flink's `CsvRowDataDeserializationSchema` reads them.

use arrow::array::ArrayRef;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_connector_api::format::{DecodeError, Decoded, Decoder, Payloads};
use millrace_core::Error;
use millrace_expr::{RowType, TypeKind};

use super::cells::Cells;
use super::dialect::Dialect;
use crate::column::{Column, RowColumns, Values};
use crate::number::{self, DecimalText};
use crate::time::{self, Standard};

pub struct CsvDecoder {
    row: RowColumns,
    dialect: Dialect,
    cells: Cells,
}

impl CsvDecoder {
    pub fn new(fields: &RowType, dialect: Dialect) -> Self {
        CsvDecoder {
            row: RowColumns::new(&fields.fields),
            dialect,
            cells: Cells::default(),
        }
    }

    /// Whether the record gave a row.
    fn record(&mut self, record: &[u8], index: usize) -> Result<bool, String> {
        if let Err(e) = std::str::from_utf8(record) {
            return Err(format!("byte {}: invalid UTF-8", e.valid_up_to()));
        }
        self.cells
            .cut(record, &self.dialect)
            .map_err(|b| format!("byte {}: {}", b.at, b.what))?;
        let (arity, mut count) = (self.row.fields.len(), self.cells.len());
        if count == 0 {
            return Err("there is no content".to_owned());
        }
        // One delimiter too many at the end is forgiven.
        if count == arity + 1 && self.cells.get(arity).is_some_and(<[u8]>::is_empty) {
            count = arity;
        }
        if count > arity || (count < arity && !self.dialect.ignore_parse_errors) {
            return Err(format!("{count} fields, where the table has {arity}"));
        }
        for i in 0..arity {
            let column = &mut self.row.fields[i];
            let read = match self.cells.get(i) {
                Some(cell) => field(column, cell, &self.dialect),
                None => null(column),
            };
            if let Err(what) = read {
                return Err(format!("field {}, '{}': {what}", i + 1, self.row.names[i]));
            }
            debug_assert_eq!(self.row.fields[i].len(), index + 1);
        }
        Ok(true)
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, payloads: &Payloads) -> Result<Decoded, DecodeError> {
        let (mut rows, mut skipped) = (0, 0);
        let mut sources: Option<Vec<u32>> = None;
        for i in 0..payloads.len() {
            let read = match payloads.get(i) {
                None => Ok(false),
                Some(record) => self.record(record, rows),
            };
            match read {
                Ok(true) => {
                    rows += 1;
                    if let Some(sources) = &mut sources {
                        sources.push(i as u32);
                    }
                    continue;
                }
                Ok(false) => {}
                Err(_) if self.dialect.ignore_parse_errors => {
                    self.row.fields.iter_mut().for_each(|c| c.truncate(rows));
                    skipped += 1;
                }
                Err(what) => {
                    self.row.fields.iter_mut().for_each(|c| c.truncate(0));
                    return Err(DecodeError {
                        payload: i,
                        error: refused(&what, payloads.get(i).unwrap_or_default()),
                    });
                }
            }
            sources.get_or_insert_with(|| (0..rows as u32).collect());
        }
        let columns: Vec<ArrayRef> = self
            .row
            .fields
            .iter_mut()
            .map(Column::finish)
            .collect::<Result<_, Error>>()
            .map_err(|error| DecodeError { payload: 0, error })?;
        Ok(Decoded {
            columns,
            rows,
            kinds: None,
            row_sources: sources,
            skipped,
        })
    }
}

#[cold]
fn refused(what: &str, record: &[u8]) -> Error {
    const SHOWN: usize = 256;
    let text = String::from_utf8_lossy(&record[..record.len().min(SHOWN)]).into_owned();
    let more = if record.len() > SHOWN { "..." } else { "" };
    Error::user("a CSV record does not fit the table")
        .with_detail(format!("{what}\nrecord: {text}{more}"))
        .with_hint("'csv.ignore-parse-errors' = 'true' makes such fields NULL and skips such records")
}

/// Reads a cell or an element of one; with ignore-parse-errors what does not fit becomes NULL.
fn field(column: &mut Column, cell: &[u8], dialect: &Dialect) -> Result<(), String> {
    let nested = matches!(column.values, Values::Array { .. } | Values::Row(_));
    if !nested && dialect.null_literal.as_deref() == Some(cell) {
        return null(column);
    }
    let rows = column.len();
    match value(column, cell, dialect) {
        Ok(()) => Ok(()),
        Err(_) if dialect.ignore_parse_errors && column.data_type.nullable => {
            column.truncate(rows);
            column.push_null();
            Ok(())
        }
        Err(what) => Err(what),
    }
}

fn null(column: &mut Column) -> Result<(), String> {
    if !column.data_type.nullable {
        return Err("there is no value and the column is NOT NULL".to_owned());
    }
    column.push_null();
    Ok(())
}

fn value(column: &mut Column, cell: &[u8], dialect: &Dialect) -> Result<(), String> {
    let kind = column.data_type.kind.clone();
    let wrong = || {
        let shown = String::from_utf8_lossy(&cell[..cell.len().min(80)]).into_owned();
        format!("'{shown}' is not of type {kind}")
    };
    match &mut column.values {
        Values::Null(n) => *n += 1,
        Values::Boolean(v) => v.push(number::trim(cell).eq_ignore_ascii_case(b"true")),
        Values::TinyInt(v) => v.push(whole(cell).ok_or_else(wrong)?),
        Values::SmallInt(v) => v.push(whole(cell).ok_or_else(wrong)?),
        Values::Int(v) => v.push(whole(cell).ok_or_else(wrong)?),
        Values::BigInt(v) => v.push(whole(cell).ok_or_else(wrong)?),
        Values::Float(v) => v.push(number::parse_float(cell).ok_or_else(wrong)?),
        Values::Double(v) => v.push(number::parse_double(cell).ok_or_else(wrong)?),
        Values::Decimal(v) => match number::parse_decimal(cell, v.precision, v.scale) {
            DecimalText::Value(unscaled) => v.values.push(unscaled),
            // Flink reads a decimal that is too large for its type as NULL.
            DecimalText::TooLarge if column.data_type.nullable => column.push_null(),
            _ => return Err(wrong()),
        },
        Values::Text(v) => v.push(cell),
        Values::Bytes(v) => {
            STANDARD.decode_vec(cell, &mut v.data).map_err(|_| wrong())?;
            v.close();
        }
        Values::Date(v) => v.push(time::parse_sql_date(cell).ok_or_else(wrong)?),
        Values::Time(v) => {
            let millis = time::parse_iso_time(cell).ok_or_else(wrong)?;
            let finest = match kind {
                TypeKind::Time(0) => 1000,
                TypeKind::Time(1) => 100,
                TypeKind::Time(2) => 10,
                _ => 1,
            };
            v.push(millis - millis % finest);
        }
        Values::Timestamp(v) => {
            let text = number::trim(cell);
            v.values
                .push(time::parse_timestamp(text, Standard::Sql, v.zoned, v.unit).ok_or_else(wrong)?);
        }
        Values::Array { offsets, item } => {
            if !number::trim(cell).is_empty() {
                for element in elements(cell, &dialect.element_delimiter) {
                    field(item, element, dialect)?;
                }
            }
            offsets.push(item.len() as i32);
        }
        Values::Row(row) => {
            if number::trim(cell).is_empty() {
                return null(column);
            }
            let mut parts = elements(cell, &dialect.element_delimiter);
            let arity = row.fields.len();
            for (i, nested) in row.fields.iter_mut().enumerate() {
                match parts.next() {
                    Some(part) => field(nested, part, dialect)?,
                    None if dialect.ignore_parse_errors => null(nested)?,
                    None => return Err(format!("{i} elements, where the row has {arity}")),
                }
            }
            row.rows += 1;
        }
        Values::Map { .. } | Values::Months(_) | Values::Millis(_) => {
            return Err(format!("the csv format cannot carry the type {kind}"));
        }
    }
    Ok(())
}

fn whole<T: TryFrom<i64>>(cell: &[u8]) -> Option<T> {
    T::try_from(number::parse_long(cell)?).ok()
}

/// The parts of `cell` between delimiters.
fn elements<'a>(cell: &'a [u8], delimiter: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(cell);
    std::iter::from_fn(move || {
        let text = rest?;
        match memchr::memmem::find(text, delimiter) {
            Some(at) => {
                rest = Some(&text[at + delimiter.len()..]);
                Some(&text[..at])
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    })
}
