//! The format `debezium-json`: changes of a database's rows, as Debezium writes them in JSON.
//!
//! A record says what a row was `before` and is `after`, and by `op` what was done: `c` created, `r`
//! read by a snapshot, `u` updated, `d` deleted. It gives `+I`; `-U` and `+U`; or `-D`.
//!
//! Layout: `decode` records to rows of all kinds, `source` what a record says beside the row, `encode`
//! rows of all kinds to records.

mod decode;
mod encode;
mod source;

use millrace_connector_api::format::{Decoder, Encoder, Format};
use millrace_connector_api::{OptionSpec, Options};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::{Field, RowType};

use super::{Json, check_types};
use super::{NO_NULLS, NULL_KEY_LITERAL, NULL_KEY_MODE, PLAIN_DECIMALS, TIMESTAMP_FORMAT};
use crate::options::Prefixed;
use decode::DebeziumDecoder;
use encode::DebeziumEncoder;
use source::Metadata;

pub struct DebeziumJson;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::optional(
        "schema-include",
        Some("false"),
        "whether each record has a 'schema' beside its 'payload' ('value.converter.schemas.enable' of Kafka Connect)",
    ),
    OptionSpec::optional(
        "ignore-parse-errors",
        Some("false"),
        "makes fields that do not parse NULL and skips records that are no changes, instead of failing",
    ),
    TIMESTAMP_FORMAT,
    NULL_KEY_MODE,
    NULL_KEY_LITERAL,
    PLAIN_DECIMALS,
    NO_NULLS,
];

fn schema_include(table: &TableSpec, prefix: &str) -> Result<bool> {
    Prefixed::new(Options::new(&table.name, &table.options), prefix).get_or("schema-include", false)
}

impl Format for DebeziumJson {
    fn identifier(&self) -> &'static str {
        "debezium-json"
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn finds_fields_by_name(&self) -> bool {
        true
    }

    fn is_changelog(&self) -> bool {
        true
    }

    fn metadata(&self) -> Vec<Field> {
        Metadata::ALL.iter().map(|m| m.field()).collect()
    }

    fn decoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Decoder>> {
        self.decoder_with_metadata(table, prefix, fields, &[])
    }

    fn decoder_with_metadata(
        &self,
        table: &TableSpec,
        prefix: &str,
        fields: &RowType,
        metadata: &[&str],
    ) -> Result<Box<dyn Decoder>> {
        check_types(table, &fields.fields)?;
        let metadata = metadata
            .iter()
            .map(|key| {
                Metadata::of(key).ok_or_else(|| {
                    Error::internal(format!("the format debezium-json has no metadata '{key}'"))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut settings = Json::decode_settings(table, prefix)?;
        settings.as_tree = true;
        let schema_include = schema_include(table, prefix)?;
        Ok(Box::new(DebeziumDecoder::new(
            fields,
            &metadata,
            settings,
            schema_include,
        )))
    }

    fn encoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Encoder>> {
        check_types(table, &fields.fields)?;
        if schema_include(table, prefix)? {
            return Err(Error::user(format!(
                "table '{}' cannot be written with '{prefix}schema-include' = 'true'",
                table.name
            ))
            .with_detail("records are written without a schema")
            .with_hint(format!("take '{prefix}schema-include' away for writing")));
        }
        Ok(Box::new(DebeziumEncoder::new(
            fields,
            Json::encode_settings(table, prefix)?,
        )))
    }

    fn validate(&self, table: &TableSpec, prefix: &str, fields: &[Field]) -> Result<()> {
        check_types(table, fields)?;
        schema_include(table, prefix)?;
        Json::decode_settings(table, prefix)?;
        Json::encode_settings(table, prefix)?;
        Ok(())
    }
}
