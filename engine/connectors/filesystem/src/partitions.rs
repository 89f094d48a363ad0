//! Folders `column=value`, as Flink's `PartitionPathUtils` names them.

use std::path::Path;

use arrow::array::{Array, ArrayRef};
use millrace_core::{Error, Result};
use millrace_expr::{DataType, Field, TypeKind};
use millrace_formats::column::{Column, Values};
use millrace_formats::number::{self, DecimalText};
use millrace_formats::row_text;
use millrace_formats::time::{self, Standard};

/// Types whose values have a text that a folder's name can be.
pub fn check(table: &str, field: &Field) -> Result<()> {
    match field.data_type.kind {
        TypeKind::Char(_)
        | TypeKind::Varchar(_)
        | TypeKind::Boolean
        | TypeKind::TinyInt
        | TypeKind::SmallInt
        | TypeKind::Int
        | TypeKind::BigInt
        | TypeKind::Float
        | TypeKind::Double
        | TypeKind::Decimal { .. }
        | TypeKind::Date
        | TypeKind::Time(_)
        | TypeKind::Timestamp(_) => Ok(()),
        _ => Err(
            Error::unsupported(format!("a partition column of type {}", field.data_type.kind))
                .with_detail(format!("table '{table}', column '{}'", field.name)),
        ),
    }
}

/// Writes `a=1/b=x` for one row.
pub fn write(
    keys: &[(&Field, &ArrayRef)],
    row: usize,
    default_name: &str,
    scratch: &mut Vec<u8>,
    out: &mut String,
) {
    for (i, (field, array)) in keys.iter().enumerate() {
        if i > 0 {
            out.push('/');
        }
        escape(&field.name, out);
        out.push('=');
        scratch.clear();
        if !array.is_null(row) {
            row_text::value(&field.data_type, array.as_ref(), row, scratch);
        }
        match std::str::from_utf8(scratch) {
            Ok(text) if !text.is_empty() => escape(text, out),
            _ => escape(default_name, out),
        }
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        if c < ' ' || c == '\u{7f}' || "\"#%'*/:=?\\{}[]^".contains(c) {
            out.push_str(&format!("%{:02X}", c as u32));
        } else {
            out.push(c);
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&b, tail)) = rest.split_first() {
        let code = (b == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(code) => {
                out.push(code);
                rest = &tail[2..];
            }
            None => {
                out.push(b);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The value of a partition column in a file's path below the table's folder; `None` is NULL.
pub fn value_of(key: &str, root: &Path, file: &Path, default_name: &str) -> Result<Option<String>> {
    let below = file.strip_prefix(root).unwrap_or(file);
    let folders = below
        .parent()
        .into_iter()
        .flat_map(Path::iter)
        .filter_map(|n| n.to_str());
    for folder in folders {
        if let Some((name, value)) = folder.split_once('=')
            && unescape(name) == key
        {
            let value = unescape(value);
            return Ok((value != default_name).then_some(value));
        }
    }
    Err(Error::user(format!(
        "a file is in no folder '{key}=...', and '{key}' is a partition column"
    ))
    .with_detail(file.display().to_string()))
}

/// A column of `rows` times one value.
pub fn constant(data_type: &DataType, value: Option<&str>, rows: usize, what: &str) -> Result<ArrayRef> {
    let mut column = Column::new(data_type);
    for _ in 0..rows {
        match value {
            None if data_type.nullable => column.push_null(),
            None => {
                return Err(
                    Error::user("a partition column is NOT NULL and its folder says NULL").with_detail(what),
                );
            }
            Some(text) => push(&mut column, text.as_bytes()).ok_or_else(|| {
                Error::user("the name of a folder does not fit its partition column")
                    .with_detail(format!("{what}: '{text}' is not of type {data_type}"))
            })?,
        }
    }
    column.finish()
}

fn push(column: &mut Column, text: &[u8]) -> Option<()> {
    fn whole<T: TryFrom<i64>>(text: &[u8]) -> Option<T> {
        T::try_from(number::parse_long(text)?).ok()
    }
    match &mut column.values {
        Values::Text(v) => v.push(text),
        Values::Boolean(v) => v.push(match text.to_ascii_lowercase().as_slice() {
            b"true" => true,
            b"false" => false,
            _ => return None,
        }),
        Values::TinyInt(v) => v.push(whole(text)?),
        Values::SmallInt(v) => v.push(whole(text)?),
        Values::Int(v) => v.push(whole(text)?),
        Values::BigInt(v) => v.push(whole(text)?),
        Values::Float(v) => v.push(number::parse_float(text)?),
        Values::Double(v) => v.push(number::parse_double(text)?),
        Values::Decimal(v) => match number::parse_decimal(text, v.precision, v.scale) {
            DecimalText::Value(unscaled) => v.values.push(unscaled),
            _ => return None,
        },
        Values::Date(v) => v.push(time::parse_date(text)?),
        Values::Time(v) => v.push(time::parse_iso_time(text)?),
        Values::Timestamp(v) => {
            let standard = if text.contains(&b'T') {
                Standard::Iso8601
            } else {
                Standard::Sql
            };
            v.values
                .push(time::parse_timestamp(text, standard, v.zoned, v.unit)?);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_back() {
        let mut out = String::new();
        escape("a/b=c%d", &mut out);
        assert_eq!(out, "a%2Fb%3Dc%25d");
        assert_eq!(unescape(&out), "a/b=c%d");
        assert_eq!(unescape("100%"), "100%");
        let root = Path::new("/t");
        let file = Path::new("/t/day=2024-01-01/k=__N__/part-0");
        assert_eq!(
            value_of("day", root, file, "__N__").unwrap().as_deref(),
            Some("2024-01-01")
        );
        assert_eq!(value_of("k", root, file, "__N__").unwrap(), None);
        assert!(value_of("x", root, file, "__N__").is_err());
    }
}
