//! Rows to records: key, value, timestamp and headers, column by column.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, MapArray, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMillisecondType;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::{Encoder, Payloads};
use millrace_core::{Error, Result, RowKind};
use millrace_dataflow::{SinkSpec, TableSpec};
use millrace_expr::Field;

use crate::metadata::Metadata;
use crate::options::{Payload, TableOptions};
use crate::topics::Topics;
use crate::writer::{Block, Headers};

/// Metadata that a table can write, with nulls where it has none.
pub fn metadata() -> Vec<Field> {
    [Metadata::Headers, Metadata::Timestamp]
        .map(|m| Field::new(m.key(), m.data_type().with_nullable(true)))
        .to_vec()
}

/// Columns of the stream that are encoded as one payload.
struct Part {
    columns: Vec<usize>,
    schema: arrow::datatypes::SchemaRef,
    encoder: Box<dyn Encoder>,
}

impl Part {
    fn new(table: &TableSpec, payload: &Payload) -> Result<Self> {
        let fields = payload.row_type();
        Ok(Part {
            columns: payload.columns.clone(),
            schema: fields.to_arrow(),
            encoder: payload.format.encoder(table, &payload.prefix, &fields)?,
        })
    }

    fn encode(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|&c| batch.rows.column(c).clone())
            .collect();
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.len()));
        let rows =
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(|e| {
                Error::internal("a batch does not have the columns of the Kafka table").with_source(e)
            })?;
        out.clear();
        let kinds = batch.kinds.clone();
        self.encoder.encode(&ChangeBatch { rows, kinds }, out)?;
        if out.len() != batch.len() {
            return Err(Error::internal(format!(
                "a format made {} records of {} rows",
                out.len(),
                batch.len()
            )));
        }
        Ok(())
    }
}

/// A table whose formats know the topic: the subject that Confluent's clients register schemas under.
fn with_subjects(table: &TableSpec, options: &TableOptions) -> TableSpec {
    let mut table = table.clone();
    let Topics::List(topics) = &options.topics else {
        return table;
    };
    let parts = [(Some(&options.value), "value"), (options.key.as_ref(), "key")];
    for (payload, part) in parts {
        if let (Some(payload), [topic]) = (payload, topics.as_slice())
            && payload.format.identifier() == "avro-confluent"
        {
            let key = format!("{}subject", payload.prefix);
            table
                .options
                .entry(key)
                .or_insert_with(|| format!("{topic}-{part}"));
        }
    }
    table
}

/// What a record says of the kind of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    /// Nothing: only new rows can be written.
    Inserts,
    /// That the value is there, or that the row is deleted.
    Upsert,
    /// The value says it.
    All,
}

pub struct RecordEncoder {
    table: String,
    kinds: Kinds,
    key: Option<Part>,
    value: Part,
    /// Columns of the stream.
    timestamp: Option<usize>,
    headers: Option<usize>,
}

impl RecordEncoder {
    pub fn new(spec: &SinkSpec, options: &TableOptions) -> Result<Self> {
        let table = &with_subjects(&spec.table, options);
        let column = |metadata: Metadata| {
            spec.metadata
                .iter()
                .position(|m| m.name == metadata.key())
                .map(|i| table.columns.len() + i)
        };
        if let Some(other) = spec
            .metadata
            .iter()
            .find(|m| metadata().iter().all(|known| known.name != m.name))
        {
            return Err(Error::user(format!(
                "table '{}' cannot write the metadata '{}'",
                table.name, other.name
            ))
            .with_hint("'timestamp' and 'headers' can be written; declare others VIRTUAL"));
        }
        Ok(RecordEncoder {
            table: table.name.clone(),
            kinds: match (options.upsert, options.value.format.is_changelog()) {
                (true, _) => Kinds::Upsert,
                (false, true) => Kinds::All,
                (false, false) => Kinds::Inserts,
            },
            key: options
                .key
                .as_ref()
                .map(|key| Part::new(table, key))
                .transpose()?,
            value: Part::new(table, &options.value)?,
            timestamp: column(Metadata::Timestamp),
            headers: column(Metadata::Headers),
        })
    }

    /// Values of rows that are there, and none of those that are not any more.
    fn upserts(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()> {
        let goes = |kind: &u8| *kind == RowKind::Delete as u8 || *kind == RowKind::UpdateBefore as u8;
        let kept = match &batch.kinds {
            Some(kinds) if kinds.values().iter().any(goes) => {
                BooleanArray::from_iter(kinds.values().iter().map(|kind| Some(!goes(kind))))
            }
            _ => return self.value.encode(batch, out),
        };
        let rows = filter_record_batch(&batch.rows, &kept)
            .map_err(|e| Error::internal("rows of a Kafka sink do not fit together").with_source(e))?;
        let mut values = Payloads::new();
        self.value.encode(&ChangeBatch::inserts(rows), &mut values)?;
        out.clear();
        let mut next = 0;
        for row in 0..batch.len() {
            match kept.value(row) {
                true => {
                    out.push(values.get(next));
                    next += 1;
                }
                false => out.push(None),
            }
        }
        Ok(())
    }

    /// Puts the batch's records into `out`, in place of what was there.
    pub fn encode(&mut self, batch: &ChangeBatch, out: &mut Block) -> Result<()> {
        if self.kinds == Kinds::Inserts
            && batch
                .kinds
                .as_ref()
                .is_some_and(|kinds| kinds.values().iter().any(|&k| k != RowKind::Insert as u8))
        {
            return Err(Error::user(format!(
                "table '{}' takes inserts only, and the query updates or deletes rows",
                self.table
            )));
        }
        match self.kinds {
            Kinds::Upsert => self.upserts(batch, &mut out.values)?,
            _ => self.value.encode(batch, &mut out.values)?,
        }
        match &mut self.key {
            None => out.keys = None,
            Some(key) => key.encode(batch, out.keys.get_or_insert_with(Payloads::new))?,
        }
        out.timestamps = self
            .timestamp
            .map(|c| timestamps(batch.rows.column(c)))
            .transpose()?;
        out.headers = self.headers.map(|c| headers(batch.rows.column(c))).transpose()?;
        Ok(())
    }
}

fn timestamps(column: &ArrayRef) -> Result<Vec<i64>> {
    let millis = column
        .as_primitive_opt::<TimestampMillisecondType>()
        .ok_or_else(|| wrong_type(Metadata::Timestamp, column))?;
    let mut out = Vec::with_capacity(millis.len());
    for i in 0..millis.len() {
        if millis.is_null(i) {
            out.push(0);
        } else if millis.value(i) <= 0 {
            // The Java client refuses what is before 1970 too, and writes 0, which to librdkafka is the
            // time of sending: a silently wrong time.
            return Err(
                Error::user("a Kafka record's timestamp must be after 1970-01-01 00:00 UTC")
                    .with_detail(format!("metadata 'timestamp' is {} ms", millis.value(i)))
                    .with_hint("write NULL for the time of sending, or leave such rows out"),
            );
        } else {
            out.push(millis.value(i));
        }
    }
    Ok(out)
}

fn headers(column: &ArrayRef) -> Result<Headers> {
    let wrong = || wrong_type(Metadata::Headers, column);
    let maps: &MapArray = column.as_map_opt().ok_or_else(wrong)?;
    let names: &StringArray = maps.keys().as_string_opt().ok_or_else(wrong)?;
    let values: &BinaryArray = maps.values().as_binary_opt().ok_or_else(wrong)?;
    let mut out = Headers {
        offsets: vec![0],
        entries: Vec::new(),
    };
    for row in 0..maps.len() {
        if maps.is_valid(row) {
            let (from, to) = (
                maps.value_offsets()[row] as usize,
                maps.value_offsets()[row + 1] as usize,
            );
            out.entries.extend((from..to).map(|i| {
                (
                    names.value(i).to_owned(),
                    values.is_valid(i).then(|| values.value(i).to_vec()),
                )
            }));
        }
        out.offsets.push(out.entries.len() as u32);
    }
    Ok(out)
}

fn wrong_type(metadata: Metadata, column: &ArrayRef) -> Error {
    Error::internal(format!(
        "metadata '{}' came as {}",
        metadata.key(),
        column.data_type()
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryBuilder, MapBuilder, StringBuilder, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn headers_of_each_record() {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), BinaryBuilder::new());
        maps.keys().append_value("a");
        maps.values().append_value(b"1");
        maps.keys().append_value("b");
        maps.values().append_null();
        maps.append(true).unwrap();
        maps.append(false).unwrap();
        maps.append(true).unwrap();
        let column: ArrayRef = Arc::new(maps.finish());
        let headers = headers(&column).unwrap();
        assert_eq!(headers.offsets, [0, 2, 2, 2]);
        assert_eq!(
            headers.entries,
            [("a".to_owned(), Some(b"1".to_vec())), ("b".to_owned(), None)]
        );
        // A slice of a map array keeps its offsets.
        assert!(super::headers(&column.slice(1, 2)).unwrap().entries.is_empty());
    }

    #[test]
    fn a_null_timestamp_is_the_time_of_sending() {
        let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(5), None]));
        assert_eq!(timestamps(&column).unwrap(), [5, 0]);
    }

    #[test]
    fn a_timestamp_that_would_become_another_one_is_refused() {
        for millis in [-5, 0] {
            let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![5, millis]));
            let e = timestamps(&column).unwrap_err().to_string();
            assert!(e.contains(&format!("{millis} ms")) && e.contains("NULL"), "{e}");
        }
    }
}
