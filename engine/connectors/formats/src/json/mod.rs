//! The format `json`, and those that are built on it.
//!
//! Layout: `debezium` the format `debezium-json`; `decode` records to columns, `order` the guess at the next key, `cursor` JSON's tokens,
//! `compact` nested values as text, `keys` repeated keys, `fault` why a record is refused; `encode` columns to records,
//! `escape` strings in quotes.

mod compact;
mod cursor;
pub mod debezium;
pub mod decode;
pub mod encode;
mod escape;
mod fault;
mod keys;
pub(crate) mod order;

use millrace_connector_api::format::{Decoder, Encoder, Format};
use millrace_connector_api::{OptionSpec, Options};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::{DataType, Field, RowType, TypeKind};

use crate::options::Prefixed;
use crate::time::Standard;
use encode::NullKey;

pub struct Json;

// What all formats of JSON have.
const TIMESTAMP_FORMAT: OptionSpec = OptionSpec::optional(
    "timestamp-format.standard",
    Some("SQL"),
    "SQL ('2020-12-30 12:13:14.123') or ISO-8601 ('2020-12-30T12:13:14.123')",
);
const NULL_KEY_MODE: OptionSpec = OptionSpec::optional(
    "map-null-key.mode",
    Some("FAIL"),
    "what a null key of a map is written as: FAIL, DROP or LITERAL",
);
const NULL_KEY_LITERAL: OptionSpec = OptionSpec::optional(
    "map-null-key.literal",
    Some("null"),
    "the key for null keys in mode LITERAL",
);
const PLAIN_DECIMALS: OptionSpec = OptionSpec::optional(
    "encode.decimal-as-plain-number",
    Some("false"),
    "writes decimals never in scientific notation",
);
const NO_NULLS: OptionSpec = OptionSpec::optional(
    "encode.ignore-null-fields",
    Some("false"),
    "leaves null fields out",
);

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::optional(
        "fail-on-missing-field",
        Some("false"),
        "whether a record without one of the columns fails the job",
    ),
    OptionSpec::optional(
        "ignore-parse-errors",
        Some("false"),
        "makes fields that do not parse NULL and skips records that are no JSON, instead of failing",
    ),
    TIMESTAMP_FORMAT,
    NULL_KEY_MODE,
    NULL_KEY_LITERAL,
    PLAIN_DECIMALS,
    NO_NULLS,
    OptionSpec::optional(
        "decode.json-parser.enabled",
        Some("true"),
        "chooses Flink's parser; without effect here",
    ),
];

impl Json {
    fn decode_settings(table: &TableSpec, prefix: &str) -> Result<decode::Settings> {
        let options = Prefixed::new(Options::new(&table.name, &table.options), prefix);
        let settings = decode::Settings {
            fail_on_missing_field: options.get_or("fail-on-missing-field", false)?,
            ignore_parse_errors: options.get_or("ignore-parse-errors", false)?,
            timestamps: standard(&options)?,
            as_tree: false,
        };
        options.get_or("decode.json-parser.enabled", true)?;
        if settings.fail_on_missing_field && settings.ignore_parse_errors {
            return Err(Error::user(format!(
                "table '{}' has '{prefix}fail-on-missing-field' and '{prefix}ignore-parse-errors' both enabled",
                table.name
            ))
            .with_hint("set one of them to 'false'"));
        }
        Ok(settings)
    }

    fn encode_settings(table: &TableSpec, prefix: &str) -> Result<encode::Settings> {
        let options = Prefixed::new(Options::new(&table.name, &table.options), prefix);
        let literal: String = options.get_or("map-null-key.literal", "null".to_owned())?;
        let modes = [
            ("FAIL", NullKeyMode::Fail),
            ("DROP", NullKeyMode::Drop),
            ("LITERAL", NullKeyMode::Literal),
        ];
        Ok(encode::Settings {
            timestamps: standard(&options)?,
            null_key: match options
                .choice("map-null-key.mode", &modes)?
                .unwrap_or(NullKeyMode::Fail)
            {
                NullKeyMode::Fail => NullKey::Fail,
                NullKeyMode::Drop => NullKey::Drop,
                NullKeyMode::Literal => NullKey::Literal(literal),
            },
            plain_decimals: options.get_or("encode.decimal-as-plain-number", false)?,
            ignore_null_fields: options.get_or("encode.ignore-null-fields", false)?,
        })
    }
}

#[derive(Clone, Copy)]
enum NullKeyMode {
    Fail,
    Drop,
    Literal,
}

fn standard(options: &Prefixed<'_>) -> Result<Standard> {
    let choices = [("SQL", Standard::Sql), ("ISO-8601", Standard::Iso8601)];
    Ok(options
        .choice("timestamp-format.standard", &choices)?
        .unwrap_or(Standard::Sql))
}

/// Refuses what JSON cannot carry: maps whose keys are no strings.
fn check_types(table: &TableSpec, fields: &[Field]) -> Result<()> {
    fields
        .iter()
        .try_for_each(|f| check_kind(table, &f.name, &f.data_type))
}

fn check_kind(table: &TableSpec, column: &str, data_type: &DataType) -> Result<()> {
    match &data_type.kind {
        TypeKind::Array(element) => check_kind(table, column, element),
        TypeKind::Map(key, value) => {
            check_key(table, column, data_type, key).and_then(|()| check_kind(table, column, value))
        }
        TypeKind::Multiset(element) => check_key(table, column, data_type, element),
        TypeKind::Row(fields) => fields
            .iter()
            .try_for_each(|f| check_kind(table, column, &f.data_type)),
        _ => Ok(()),
    }
}

fn check_key(table: &TableSpec, column: &str, map: &DataType, key: &DataType) -> Result<()> {
    if key.is_string() {
        return Ok(());
    }
    Err(Error::user("the json format takes only strings as keys of a map")
        .with_detail(format!("table '{}', column '{column}' of type {map}", table.name)))
}

impl Format for Json {
    fn identifier(&self) -> &'static str {
        "json"
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn finds_fields_by_name(&self) -> bool {
        true
    }

    fn decoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Decoder>> {
        check_types(table, &fields.fields)?;
        Ok(Box::new(decode::JsonDecoder::new(
            fields,
            Self::decode_settings(table, prefix)?,
        )))
    }

    fn encoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Encoder>> {
        check_types(table, &fields.fields)?;
        Ok(Box::new(encode::JsonEncoder::new(
            fields,
            Self::encode_settings(table, prefix)?,
        )))
    }

    fn validate(&self, table: &TableSpec, prefix: &str, fields: &[Field]) -> Result<()> {
        check_types(table, fields)?;
        Self::decode_settings(table, prefix)?;
        Self::encode_settings(table, prefix)?;
        Ok(())
    }
}
