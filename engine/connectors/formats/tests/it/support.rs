//! Decoding and encoding a few records.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatchOptions};
use arrow::record_batch::RecordBatch;
use millrace_connector_api::format::{DecodeError, Decoded, Format, Payloads};
use millrace_connector_api::{ChangeBatch, Registry};
use millrace_core::{Result, RowKind};
use millrace_dataflow::TableSpec;
use millrace_expr::{DataType, Field, RowType, TypeKind};
use millrace_formats::row_text::RowText;

pub fn format(name: &str) -> Arc<dyn Format> {
    let mut registry = Registry::default();
    millrace_formats::register(&mut registry);
    millrace_avro::register(&mut registry);
    registry.format("t", name).unwrap().clone()
}

/// Columns f0, f1, ...
pub fn fields(types: &[DataType]) -> RowType {
    RowType::new(
        types
            .iter()
            .enumerate()
            .map(|(i, t)| Field::new(format!("f{i}"), t.clone()))
            .collect(),
    )
}

pub fn nullable(kind: TypeKind) -> DataType {
    DataType::nullable(kind)
}

pub fn table(fields: &RowType, options: &[(&str, &str)]) -> TableSpec {
    TableSpec {
        name: "t".to_owned(),
        options: options
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        columns: fields.fields.clone(),
        metadata: Vec::new(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

pub fn payloads<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Payloads {
    let mut payloads = Payloads::new();
    records.into_iter().for_each(|r| payloads.push(Some(r)));
    payloads
}

pub fn decode(
    format_name: &str,
    fields: &RowType,
    options: &[(&str, &str)],
    records: &Payloads,
) -> Result<Decoded, DecodeError> {
    let prefix = format!("{format_name}.");
    let mut decoder = format(format_name)
        .decoder(&table(fields, options), &prefix, fields)
        .unwrap();
    decoder.decode(records)
}

pub fn batch(fields: &RowType, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(fields.to_arrow(), columns, &options).unwrap()
}

/// Rows as Flink prints them, without the row kind.
pub fn shown(fields: &RowType, decoded: Decoded) -> Vec<String> {
    let rows = decoded.rows;
    let batch = batch(fields, decoded.columns, rows);
    let text = RowText::new(&fields.fields, batch.columns()).unwrap();
    (0..rows)
        .map(|row| {
            let mut out = Vec::new();
            text.write(RowKind::Insert, row, &mut out);
            String::from_utf8(out).unwrap()[2..].to_owned()
        })
        .collect()
}

/// What one record gives: its row, `skipped`, `no row`, or `error: ...`.
pub fn one(format_name: &str, fields: &RowType, options: &[(&str, &str)], record: &str) -> String {
    match decode(format_name, fields, options, &payloads([record.as_bytes()])) {
        Err(e) => format!("error: {}", e.error),
        Ok(decoded) if decoded.skipped > 0 => "skipped".to_owned(),
        Ok(decoded) => shown(fields, decoded)
            .pop()
            .unwrap_or_else(|| "no row".to_owned()),
    }
}

/// Encodes a row that is written as a JSON record.
pub fn encode(format_name: &str, fields: &RowType, options: &[(&str, &str)], row: &str) -> Result<String> {
    let decoded = decode("json", fields, &[], &payloads([row.as_bytes()])).map_err(|e| e.error)?;
    let rows = decoded.rows;
    encode_batch(format_name, fields, options, batch(fields, decoded.columns, rows))
        .map(|out| String::from_utf8(out.data).unwrap())
}

pub fn encode_batch(
    format_name: &str,
    fields: &RowType,
    options: &[(&str, &str)],
    batch: RecordBatch,
) -> Result<Payloads> {
    let prefix = format!("{format_name}.");
    let mut encoder = format(format_name).encoder(&table(fields, options), &prefix, fields)?;
    let mut out = Payloads::new();
    encoder.encode(&ChangeBatch::inserts(batch), &mut out)?;
    Ok(out)
}

pub fn null_count(decoded: &Decoded) -> usize {
    decoded.columns.iter().map(|c| c.null_count()).sum()
}
