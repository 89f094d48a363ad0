//! The format `avro`: records without anything but their values, in the schema of the table.

use millrace_connector_api::format::{DecodeError, Decoded, Decoder, Encoder, Format, Payloads};
use millrace_connector_api::{ChangeBatch, OptionSpec, Options};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::{Field, RowType};
use millrace_formats::column::{Column, RowColumns};

use crate::decode::{self, Input};
use crate::derive::{self, Legacy};
use crate::encode::Records;
use crate::plan::{self, RecordPlan};
use crate::schema::{self, Schema};

pub struct Avro;

const ENCODING: &str = "encoding";
const LEGACY: &str = "timestamp_mapping.legacy";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::optional(ENCODING, Some("binary"), "binary"),
    OptionSpec::optional(
        LEGACY,
        Some("true"),
        "maps TIMESTAMP to an instant of Avro, as Flink did before 1.19; without it TIMESTAMP is a local time, \
         and TIMESTAMP_LTZ the instant",
    ),
];

fn settings(table: &TableSpec, prefix: &str) -> Result<Legacy> {
    let options = Options::new(&table.name, &table.options);
    let encoding = format!("{prefix}{ENCODING}");
    let is_json = options
        .choice(&encoding, &[("binary", false), ("json", true)])?
        .unwrap_or(false);
    if is_json {
        return Err(
            Error::unsupported(format!("'{encoding}' = 'json' of table '{}'", table.name))
                .with_hint("leave it out: records are binary then"),
        );
    }
    Ok(Legacy(options.get_or(&format!("{prefix}{LEGACY}"), true)?))
}

fn of_table(table: &TableSpec, prefix: &str, fields: &[Field]) -> Result<Schema> {
    let legacy = settings(table, prefix)?;
    let json = derive::of_row(fields, legacy).map_err(|e| in_table(e, &table.name))?;
    schema::parse(&json.to_string())
}

pub fn in_table(e: Error, table: &str) -> Error {
    let detail = match e.detail() {
        Some(detail) => format!("table '{table}', {detail}"),
        None => format!("table '{table}'"),
    };
    e.with_detail(detail)
}

impl Format for Avro {
    fn identifier(&self) -> &'static str {
        "avro"
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn decoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Decoder>> {
        let schema = of_table(table, prefix, &fields.fields)?;
        Ok(Box::new(AvroDecoder {
            plan: plan::of_record(&schema, &decode::named(&fields.fields))?,
            schema,
            row: RowColumns::new(&fields.fields),
        }))
    }

    fn encoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Encoder>> {
        let schema = of_table(table, prefix, &fields.fields)?;
        Ok(Box::new(AvroEncoder(Records::new(&schema, &fields.fields)?)))
    }

    fn validate(&self, table: &TableSpec, prefix: &str, fields: &[Field]) -> Result<()> {
        of_table(table, prefix, fields).map(drop)
    }
}

struct AvroDecoder {
    schema: Schema,
    plan: RecordPlan,
    row: RowColumns,
}

impl Decoder for AvroDecoder {
    fn decode(&mut self, payloads: &Payloads) -> Result<Decoded, DecodeError> {
        let AvroDecoder { schema, plan, row } = self;
        decode_all(payloads, row, |bytes, row| {
            decode::record(schema, plan, row, &mut Input::new(bytes)).map_err(Error::user)
        })
    }
}

/// Reads each record that is one by `read`, into a row.
pub fn decode_all(
    payloads: &Payloads,
    row: &mut RowColumns,
    mut read: impl FnMut(&[u8], &mut RowColumns) -> Result<()>,
) -> Result<Decoded, DecodeError> {
    row.fields.iter_mut().for_each(|c| c.reserve(payloads.len()));
    let mut sources: Vec<u32> = Vec::new();
    for payload in 0..payloads.len() {
        let Some(bytes) = payloads.get(payload) else {
            continue;
        };
        if let Err(why) = read(bytes, row) {
            row.rows = 0;
            row.fields.iter_mut().for_each(|c| c.truncate(0));
            let error =
                Error::new(why.kind(), "an Avro record cannot be read").with_detail(match why.detail() {
                    Some(detail) => format!("{}: {detail}", why.message()),
                    None => why.message().to_owned(),
                });
            let error = match why.hint() {
                Some(hint) => error.with_hint(hint.to_owned()),
                None => error,
            };
            return Err(DecodeError { payload, error });
        }
        sources.push(payload as u32);
    }
    let rows = std::mem::take(&mut row.rows);
    let columns = row.fields.iter_mut().map(Column::finish);
    let columns = columns
        .collect::<Result<Vec<_>>>()
        .map_err(|error| DecodeError { payload: 0, error })?;
    Ok(Decoded {
        columns,
        rows,
        kinds: None,
        row_sources: (rows != payloads.len()).then_some(sources),
        skipped: 0,
    })
}

struct AvroEncoder(Records);

impl Encoder for AvroEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        self.0.encode(&[], batch, out)
    }
}
