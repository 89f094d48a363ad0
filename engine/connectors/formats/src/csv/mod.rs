//! The format `csv`.
//!
//! Layout: `dialect` its options, `cells` a record cut into cells, `decode` cells to columns,
//! `encode` columns to records.

pub mod cells;
mod decode;
pub mod dialect;
mod encode;

use millrace_connector_api::OptionSpec;
use millrace_connector_api::format::{Decoder, Encoder, Format};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::{DataType, Field, RowType, TypeKind};

use dialect::Dialect;

pub struct Csv;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::optional(
        "field-delimiter",
        Some(","),
        "the character between fields; escapes such as '\\t' are understood",
    ),
    OptionSpec::optional(
        "disable-quote-character",
        Some("false"),
        "reads and writes fields without quotes",
    ),
    OptionSpec::optional(
        "quote-character",
        Some("\""),
        "the character around fields that need it",
    ),
    OptionSpec::optional("allow-comments", Some("false"), "ignores lines that begin with #"),
    OptionSpec::optional(
        "ignore-parse-errors",
        Some("false"),
        "makes fields that do not parse NULL and skips broken records, instead of failing",
    ),
    OptionSpec::optional(
        "array-element-delimiter",
        Some(";"),
        "what is between the elements of an array or a row",
    ),
    OptionSpec::optional(
        "escape-character",
        None,
        "the character that takes the next one literally",
    ),
    OptionSpec::optional("null-literal", None, "the text that stands for NULL"),
    OptionSpec::optional(
        "write-bigdecimal-in-scientific-notation",
        None,
        "true writes decimals without trailing zeros and in scientific notation where that is shorter; \
         files always have them so",
    ),
];

/// Types that a cell, or with `nested` an element of a cell, can have.
fn check_type(table: &TableSpec, column: &str, data_type: &DataType, nested: bool) -> Result<()> {
    let refused = |what: String| {
        Err(Error::user(what).with_detail(format!(
            "table '{}', column '{column}' of type {data_type}",
            table.name
        )))
    };
    match &data_type.kind {
        TypeKind::Array(_) | TypeKind::Row(_) if nested => {
            refused("the csv format takes only simple types within an array or a row".to_owned())
        }
        TypeKind::Array(element) => check_type(table, column, element, true),
        TypeKind::Row(fields) => fields
            .iter()
            .try_for_each(|f| check_type(table, column, &f.data_type, true)),
        TypeKind::Map(..)
        | TypeKind::Multiset(_)
        | TypeKind::IntervalYearMonth
        | TypeKind::IntervalDaySecond => {
            refused(format!("the csv format cannot carry the type {}", data_type.kind))
        }
        TypeKind::Time(p) if *p > 3 => refused("the csv format takes TIME only up to precision 3".to_owned()),
        _ => Ok(()),
    }
}

fn check_types(table: &TableSpec, fields: &[Field]) -> Result<()> {
    fields
        .iter()
        .try_for_each(|f| check_type(table, &f.name, &f.data_type, false))
}

impl Format for Csv {
    fn identifier(&self) -> &'static str {
        "csv"
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn decoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Decoder>> {
        check_types(table, &fields.fields)?;
        Ok(Box::new(decode::CsvDecoder::new(
            fields,
            Dialect::new(table, prefix)?,
        )))
    }

    fn encoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Encoder>> {
        check_types(table, &fields.fields)?;
        Ok(Box::new(encode::CsvEncoder::new(
            fields,
            Dialect::new(table, prefix)?,
        )))
    }

    fn validate(&self, table: &TableSpec, prefix: &str, fields: &[Field]) -> Result<()> {
        check_types(table, fields)?;
        Dialect::new(table, prefix).map(|_| ())
    }
}
