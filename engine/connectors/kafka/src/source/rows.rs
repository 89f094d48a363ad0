//! From a block of records to a batch of rows: values and keys decoded, metadata beside them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, BinaryBuilder, BooleanArray, Int32Array, Int64Array, MapArray, StringArray,
    StringBuilder, StructArray, TimestampMillisecondArray, UInt8Array, UInt32Array, make_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::compute::take;
use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::{DecodeError, Decoded, Decoder};
use millrace_connector_api::source::SourceBatch;
use millrace_core::{Error, Result, RowKind};
use millrace_dataflow::SourceSpec;
use millrace_expr::{Field, RowType};

use super::VALUE_METADATA;
use super::partition_reader::{Block, TimestampType, Wanted};
use super::split::Split;
use crate::metadata::Metadata;
use crate::options::{Payload, TableOptions};

/// Where an output column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Value(usize),
    Key(usize),
    /// Of the value, and of the key where there is no value.
    ValueOrKey(usize, usize),
    Metadata(Metadata),
    /// Metadata of the value's format, by its place behind the value's columns.
    ValueMetadata(usize),
}

pub struct Rows {
    table: String,
    schema: SchemaRef,
    columns: Vec<Column>,
    value: Box<dyn Decoder>,
    /// Columns of a decoded value before its metadata.
    value_columns: usize,
    value_format: &'static str,
    key: Option<(Box<dyn Decoder>, &'static str)>,
    wanted: Wanted,
    /// A record without a value deletes its key's row.
    upsert: bool,
    /// Records left out because they did not parse.
    pub skipped: u64,
}

impl Rows {
    pub fn new(spec: &SourceSpec, options: &TableOptions) -> Result<Self> {
        let table = &spec.table;
        // A column that is in both comes from the value, as in Flink.
        let in_value = |i: usize| options.value.columns.contains(&i);
        let value = choose(
            &options.value,
            spec.projection.iter().copied().filter(|&i| in_value(i)),
        );
        let key = options.key.as_ref().map(|key| {
            (
                key,
                choose(
                    key,
                    spec.projection
                        .iter()
                        .copied()
                        .filter(|&i| !in_value(i) || options.upsert && key.columns.contains(&i)),
                ),
            )
        });
        let mut columns = Vec::new();
        for &i in &spec.projection {
            let from_value = value.iter().position(|c| *c == i).map(Column::Value);
            let from_key = || {
                key.as_ref()
                    .and_then(|(_, c)| c.iter().position(|c| *c == i))
                    .map(Column::Key)
            };
            let both = || match (value.iter().position(|c| *c == i), from_key()) {
                (Some(value), Some(Column::Key(key))) if options.upsert => {
                    Some(Column::ValueOrKey(value, key))
                }
                _ => None,
            };
            let column = both().or(from_value).or_else(from_key).ok_or_else(|| {
                Error::internal(format!(
                    "column {i} of table '{}' is in neither key nor value",
                    table.name
                ))
            })?;
            columns.push(column);
        }
        let mut value_metadata = Vec::new();
        for field in &spec.metadata {
            if let Some(key) = field.name.strip_prefix(VALUE_METADATA) {
                columns.push(Column::ValueMetadata(value_metadata.len()));
                value_metadata.push(key);
                continue;
            }
            let metadata = Metadata::of(&field.name).ok_or_else(|| {
                Error::internal(format!("table '{}' has no metadata '{}'", table.name, field.name))
            })?;
            columns.push(Column::Metadata(metadata));
        }
        let reads = |m: Metadata| columns.contains(&Column::Metadata(m));
        let wanted = Wanted {
            keys: key.is_some(),
            timestamps: reads(Metadata::Timestamp) || reads(Metadata::TimestampType),
            headers: reads(Metadata::Headers),
            leader_epochs: reads(Metadata::LeaderEpoch),
        };
        let decoder = |payload: &Payload, chosen: &[usize], metadata: &[&str]| {
            payload
                .format
                .decoder_with_metadata(table, &payload.prefix, &fields(payload, chosen), metadata)
        };
        Ok(Rows {
            table: table.name.clone(),
            schema: spec.output().to_arrow(),
            columns,
            value_columns: value.len(),
            upsert: options.upsert,
            value: decoder(&options.value, &value, &value_metadata)?,
            value_format: options.value.format.identifier(),
            key: match &key {
                Some((payload, chosen)) => {
                    Some((decoder(payload, chosen, &[])?, payload.format.identifier()))
                }
                None => None,
            },
            wanted,
            skipped: 0,
        })
    }

    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// Decodes a block. Nothing if no record of it gives a row.
    pub fn assemble(&mut self, block: &Block, splits: &[Split]) -> Result<Option<SourceBatch>> {
        let value = self
            .value
            .decode(&block.values)
            .map_err(|e| malformed(&self.table, self.value_format, "value", e, block, splits))?;
        let key = match &mut self.key {
            Some((decoder, format)) => Some(
                decoder
                    .decode(&block.keys)
                    .map_err(|e| malformed(&self.table, format, "key", e, block, splits))?,
            ),
            None => None,
        };
        self.skipped += value.skipped + key.as_ref().map_or(0, |k| k.skipped);
        let deleting: &[u32] = match self.upsert {
            true => &block.values.nulls,
            false => &[],
        };
        let joined = Joined::of(block.records(), value, key, deleting)?;
        if joined.rows == 0 {
            return Ok(None);
        }
        let arrays = self
            .columns
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| match column {
                // What a deletion has in a column that is never null does not matter.
                Column::Value(i) if !deleting.is_empty() && !field.is_nullable() => {
                    without_nulls(&joined.value[*i])
                }
                Column::Value(i) => Ok(joined.value[*i].clone()),
                Column::ValueOrKey(value, _) if deleting.is_empty() => Ok(joined.value[*value].clone()),
                Column::ValueOrKey(value, key) => {
                    let deletes = RowKind::Delete as u8;
                    let kinds = joined.kinds.iter().flat_map(|kinds| kinds.values().iter());
                    let deleted: BooleanArray = kinds.map(|kind| Some(*kind == deletes)).collect();
                    match deleted.len() == joined.rows {
                        true => zip(&deleted, &joined.key[*key], &joined.value[*value]).map_err(arrow_error),
                        false => Ok(joined.value[*value].clone()),
                    }
                }
                Column::ValueMetadata(i) => Ok(joined.value[self.value_columns + i].clone()),
                Column::Key(i) => Ok(joined.key[*i].clone()),
                Column::Metadata(m) => {
                    let array = metadata(*m, field.data_type(), block, splits)?;
                    match &joined.records {
                        None => Ok(array),
                        Some(records) => Ok(take(&array, records, None).map_err(arrow_error)?),
                    }
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(joined.rows));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(|e| {
            Error::user(format!(
                "a record of table '{}' does not fit its columns",
                self.table
            ))
            .with_source(e)
        })?;
        Ok(Some(SourceBatch {
            batch: ChangeBatch {
                rows,
                kinds: joined.kinds,
            },
            splits: runs(block, joined.records.as_ref()),
        }))
    }
}

/// Which of a payload's columns its decoder is made for. Formats that find fields by place need
/// all of them; one that needs none still decides which records give a row.
fn choose(payload: &Payload, needed: impl Iterator<Item = usize>) -> Vec<usize> {
    if !payload.format.finds_fields_by_name() {
        return payload.columns.clone();
    }
    let needed: Vec<usize> = needed.collect();
    match payload.columns.first() {
        Some(&first) if needed.is_empty() => vec![first],
        _ => needed,
    }
}

fn fields(payload: &Payload, chosen: &[usize]) -> RowType {
    let field = |column: &usize| -> Option<Field> {
        payload
            .columns
            .iter()
            .position(|c| c == column)
            .map(|i| payload.fields[i].clone())
    };
    RowType::new(chosen.iter().filter_map(field).collect())
}

/// A record that does not parse, by its place in Kafka.
fn malformed(
    table: &str,
    format: &str,
    part: &str,
    e: DecodeError,
    block: &Block,
    splits: &[Split],
) -> Error {
    let place = block
        .split_of(e.payload)
        .and_then(|s| splits.get(s as usize))
        .map_or_else(
            || "unknown place".to_owned(),
            |s| {
                format!(
                    "{}-{}-{}",
                    s.topic,
                    s.partition,
                    block.offsets.get(e.payload).copied().unwrap_or(-1)
                )
            },
        );
    let error = Error::new(
        e.error.kind(),
        format!("the {part} of a record of table '{table}' cannot be read as {format}"),
    )
    .with_detail(format!("{place} (topic-partition-offset): {}", e.error));
    match format {
        "json" | "csv" | "debezium-json" => error.with_hint(format!(
            "'{format}.ignore-parse-errors' = 'true' leaves such records out"
        )),
        _ => error,
    }
}

fn arrow_error(e: arrow::error::ArrowError) -> Error {
    Error::internal("rows of a Kafka source do not fit together").with_source(e)
}

/// Keys and values put side by side. A record gives each row of its value with each of its key, as
/// in Flink: mostly one, with a JSON array more, none where either gave none.
struct Joined {
    rows: usize,
    value: Vec<ArrayRef>,
    key: Vec<ArrayRef>,
    /// For each row its record; `None` where row i is record i for all.
    records: Option<UInt32Array>,
    kinds: Option<UInt8Array>,
}

impl Joined {
    /// `deleting` are records that have no value, and give a row that deletes.
    fn of(records: usize, value: Decoded, key: Option<Decoded>, deleting: &[u32]) -> Result<Self> {
        let Some(key) = key else {
            return Ok(Joined {
                rows: value.rows,
                value: value.columns,
                key: Vec::new(),
                records: value.row_sources.map(UInt32Array::from),
                kinds: value.kinds,
            });
        };
        if value.row_sources.is_none() && key.row_sources.is_none() {
            return Ok(Joined {
                rows: value.rows,
                value: value.columns,
                key: key.columns,
                records: None,
                kinds: value.kinds,
            });
        }
        let (values, keys) = (begins(records, &value), begins(records, &key));
        let mut of_value: Vec<Option<u32>> = Vec::new();
        let (mut of_key, mut kept) = (Vec::new(), Vec::new());
        let mut deleting = deleting.iter().copied().peekable();
        for record in 0..records {
            // Whatever a format makes of no value.
            let deletes = deleting.next_if_eq(&(record as u32)).is_some();
            let end = if deletes {
                values[record]
            } else {
                values[record + 1]
            };
            for v in (values[record]..end).map(Some).chain(deletes.then_some(None)) {
                for k in keys[record]..keys[record + 1] {
                    of_value.push(v);
                    of_key.push(Some(k));
                    kept.push(record as u32);
                }
            }
        }
        let kinds = match &value.kinds {
            None if of_value.iter().all(Option::is_some) => None,
            given => {
                let kind = |row: &Option<u32>| match (row, given) {
                    (None, _) => RowKind::Delete as u8,
                    (Some(row), Some(kinds)) => kinds.value(*row as usize),
                    (Some(_), None) => RowKind::Insert as u8,
                };
                Some(UInt8Array::from_iter_values(of_value.iter().map(kind)))
            }
        };
        let pick = |columns: Vec<ArrayRef>, rows: Vec<Option<u32>>| -> Result<Vec<ArrayRef>> {
            let rows = UInt32Array::from(rows);
            columns
                .iter()
                .map(|c| take(c, &rows, None).map_err(arrow_error))
                .collect()
        };
        Ok(Joined {
            rows: kept.len(),
            value: pick(value.columns, of_value)?,
            key: pick(key.columns, of_key)?,
            records: Some(UInt32Array::from(kept)),
            kinds,
        })
    }
}

/// The same values, with some value or other where there are nulls.
fn without_nulls(array: &ArrayRef) -> Result<ArrayRef> {
    fn strip(data: ArrayData) -> ArrayData {
        let children = match data.data_type() {
            ArrowType::Struct(fields) => {
                let children = data.child_data().iter().cloned().zip(fields);
                children
                    .map(|(child, field)| match field.is_nullable() {
                        true => child,
                        false => strip(child),
                    })
                    .collect()
            }
            _ => data.child_data().to_vec(),
        };
        let builder = data.clone().into_builder().nulls(None).child_data(children);
        builder.build().unwrap_or(data)
    }
    Ok(make_array(strip(array.to_data())))
}

/// Where each record's rows begin, and at the end how many there are.
fn begins(records: usize, decoded: &Decoded) -> Vec<u32> {
    let Some(sources) = &decoded.row_sources else {
        return (0..=records as u32).collect();
    };
    let mut begins = Vec::with_capacity(records + 1);
    let mut row = 0;
    for record in 0..records as u32 {
        begins.push(row as u32);
        row += sources[row..].iter().take_while(|&&s| s == record).count();
    }
    begins.push(row as u32);
    begins
}

/// The block's runs in rows.
fn runs(block: &Block, records: Option<&UInt32Array>) -> Vec<(u32, usize)> {
    let Some(records) = records else {
        return block.runs.clone();
    };
    let mut runs: Vec<(u32, usize)> = Vec::new();
    let mut rest = records.values().iter().copied().peekable();
    let mut end = 0;
    for &(split, length) in &block.runs {
        end += length;
        let mut rows = 0;
        while rest.next_if(|r| (*r as usize) < end).is_some() {
            rows += 1;
        }
        match runs.last_mut() {
            _ if rows == 0 => {}
            Some((s, n)) if *s == split => *n += rows,
            _ => runs.push((split, rows)),
        }
    }
    runs
}

/// One metadata column, a value a record.
fn metadata(which: Metadata, data_type: &ArrowType, block: &Block, splits: &[Split]) -> Result<ArrayRef> {
    let of = |split: u32| {
        splits
            .get(split as usize)
            .ok_or_else(|| Error::internal("a block of records names a split that is not there"))
    };
    Ok(match which {
        Metadata::Topic => {
            let mut names = StringBuilder::new();
            for &(split, records) in &block.runs {
                let topic = &of(split)?.topic;
                (0..records).for_each(|_| names.append_value(topic));
            }
            Arc::new(names.finish())
        }
        Metadata::Partition => {
            let mut numbers = Vec::with_capacity(block.records());
            for &(split, records) in &block.runs {
                numbers.extend(std::iter::repeat_n(of(split)?.partition, records));
            }
            Arc::new(Int32Array::from(numbers))
        }
        Metadata::Offset => Arc::new(Int64Array::from(block.offsets.clone())),
        Metadata::Timestamp => Arc::new(
            TimestampMillisecondArray::from(block.timestamps.clone()).with_data_type(data_type.clone()),
        ),
        Metadata::TimestampType => {
            let name = |t: &TimestampType| match t {
                TimestampType::None => "NoTimestampType",
                TimestampType::Create => "CreateTime",
                TimestampType::LogAppend => "LogAppendTime",
            };
            Arc::new(StringArray::from_iter_values(
                block.timestamp_types.iter().map(name),
            ))
        }
        Metadata::LeaderEpoch => Arc::new(
            block
                .leader_epochs
                .iter()
                .map(|e| (*e >= 0).then_some(*e))
                .collect::<Int32Array>(),
        ),
        Metadata::Headers => headers(data_type, block)?,
    })
}

/// As Flink's map: of headers with the same name the last one counts.
fn headers(data_type: &ArrowType, block: &Block) -> Result<ArrayRef> {
    let ArrowType::Map(entries_field, ordered) = data_type else {
        return Err(Error::internal("headers are no map"));
    };
    let ArrowType::Struct(entry_fields) = entries_field.data_type() else {
        return Err(Error::internal("a map's entries are no struct"));
    };
    let h = &block.headers;
    let (mut names, mut values) = (StringBuilder::new(), BinaryBuilder::new());
    let mut ends = vec![0i32];
    let mut count = 0i32;
    for range in h.ends.windows(2) {
        let (from, to) = (range[0] as usize, range[1] as usize);
        for i in from..to {
            if h.names[i + 1..to].contains(&h.names[i]) {
                continue;
            }
            names.append_value(&h.names[i]);
            values.append_option(h.values[i].as_deref());
            count += 1;
        }
        ends.push(count);
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(names.finish()), Arc::new(values.finish())];
    let entries = StructArray::try_new(entry_fields.clone(), columns, None).map_err(arrow_error)?;
    let map = MapArray::try_new(
        entries_field.clone(),
        OffsetBuffer::new(ends.into()),
        entries,
        None,
        *ordered,
    );
    Ok(Arc::new(map.map_err(arrow_error)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;

    use super::*;

    fn decoded(values: &[i32], sources: Option<&[u32]>) -> Decoded {
        Decoded {
            columns: vec![Arc::new(Int32Array::from(values.to_vec()))],
            rows: values.len(),
            kinds: None,
            row_sources: sources.map(<[u32]>::to_vec),
            skipped: 0,
        }
    }

    fn rows(joined: &Joined) -> Vec<(i32, i32, u32)> {
        let column = |c: &[ArrayRef]| c[0].as_any().downcast_ref::<Int32Array>().unwrap().clone();
        let (value, key) = (column(&joined.value), column(&joined.key));
        let records = joined.records.as_ref().unwrap();
        (0..joined.rows)
            .map(|i| (value.value(i), key.value(i), records.value(i)))
            .collect()
    }

    #[test]
    fn rows_of_an_array_repeat_what_belongs_to_their_record() {
        // Records 0 to 4: values of 2, 0, 1, 1 and 3 rows.
        let value = decoded(&[10, 11, 20, 30, 40, 41, 42], Some(&[0, 0, 2, 3, 4, 4, 4]));
        let joined = Joined::of(5, value, Some(decoded(&[0, 1, 2, 3, 4], None)), &[]).unwrap();
        assert_eq!(
            rows(&joined),
            [
                (10, 0, 0),
                (11, 0, 0),
                (20, 2, 2),
                (30, 3, 3),
                (40, 4, 4),
                (41, 4, 4),
                (42, 4, 4)
            ]
        );
        let block = Block {
            runs: vec![(7, 2), (8, 2), (7, 1)],
            ..Block::default()
        };
        assert_eq!(runs(&block, joined.records.as_ref()), [(7, 2), (8, 2), (7, 3)]);
        assert_eq!(runs(&block, None), block.runs);
    }

    #[test]
    fn a_record_without_a_value_deletes() {
        let value = decoded(&[10, 30], Some(&[0, 2]));
        let joined = Joined::of(3, value, Some(decoded(&[1, 2, 3], None)), &[1]).unwrap();
        assert_eq!(joined.key[0].as_primitive::<Int32Type>().values(), &[1, 2, 3]);
        assert!(joined.value[0].is_null(1));
        let delete = RowKind::Delete as u8;
        assert_eq!(joined.kinds.as_ref().unwrap().values(), &[0, delete, 0]);
        assert_eq!(without_nulls(&joined.value[0]).unwrap().null_count(), 0);
    }

    #[test]
    fn each_row_of_a_value_comes_with_each_of_its_key() {
        let value = decoded(&[10, 11, 20, 30], Some(&[0, 0, 1, 2]));
        let key = decoded(&[1, 2, 3], Some(&[0, 0, 2]));
        let joined = Joined::of(3, value, Some(key), &[]).unwrap();
        assert_eq!(
            rows(&joined),
            [(10, 1, 0), (10, 2, 0), (11, 1, 0), (11, 2, 0), (30, 3, 2)]
        );
    }
}
