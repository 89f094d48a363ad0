//! What a record says beside the row: when it was written, and where the change comes from.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray, TimestampMillisecondArray};
use arrow::datatypes::TimestampMillisecondType;
use millrace_core::{Error, Result};
use millrace_expr::{DataType, Field, TypeKind};

use crate::column::{Column, Values};
use crate::number;

/// Metadata that can be read, by Flink's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    Schema,
    IngestionTimestamp,
    SourceTimestamp,
    SourceDatabase,
    SourceSchema,
    SourceTable,
    SourceProperties,
}

impl Metadata {
    pub const ALL: &[Metadata] = &[
        Metadata::Schema,
        Metadata::IngestionTimestamp,
        Metadata::SourceTimestamp,
        Metadata::SourceDatabase,
        Metadata::SourceSchema,
        Metadata::SourceTable,
        Metadata::SourceProperties,
    ];

    pub fn key(self) -> &'static str {
        match self {
            Metadata::Schema => "schema",
            Metadata::IngestionTimestamp => "ingestion-timestamp",
            Metadata::SourceTimestamp => "source.timestamp",
            Metadata::SourceDatabase => "source.database",
            Metadata::SourceSchema => "source.schema",
            Metadata::SourceTable => "source.table",
            Metadata::SourceProperties => "source.properties",
        }
    }

    pub fn of(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.key() == key)
    }

    pub fn field(self) -> Field {
        let data_type = match self {
            Metadata::IngestionTimestamp | Metadata::SourceTimestamp => {
                DataType::nullable(TypeKind::TimestampLtz(3))
            }
            Metadata::SourceProperties => properties_type(),
            _ => DataType::string(),
        };
        Field::new(self.key(), data_type)
    }

    fn is_of_source(self) -> bool {
        !matches!(self, Metadata::Schema | Metadata::IngestionTimestamp)
    }
}

fn properties_type() -> DataType {
    DataType::nullable(TypeKind::Map(
        Box::new(DataType::string()),
        Box::new(DataType::string()),
    ))
}

/// The parts of records that metadata comes from, a row a record, as far as somebody reads them.
pub struct Beside {
    wanted: Vec<Metadata>,
    pub schema: Option<Column>,
    pub ingestion: Option<Column>,
    pub source: Option<Column>,
    /// `source.ts_ms` of each record as a number.
    source_times: Vec<Option<i64>>,
}

impl Beside {
    pub fn new(wanted: &[Metadata]) -> Self {
        let column = |is: fn(Metadata) -> bool, data_type: DataType| {
            wanted.iter().any(|m| is(*m)).then(|| Column::new(&data_type))
        };
        Beside {
            wanted: wanted.to_vec(),
            schema: column(|m| m == Metadata::Schema, DataType::string()),
            ingestion: column(|m| m == Metadata::IngestionTimestamp, DataType::bigint()),
            source: column(Metadata::is_of_source, properties_type()),
            source_times: Vec::new(),
        }
    }

    /// Whether anybody reads anything.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    fn columns(&mut self) -> impl Iterator<Item = &mut Column> {
        [&mut self.schema, &mut self.ingestion, &mut self.source]
            .into_iter()
            .flatten()
    }

    /// Ends a record: what it did not say is null. An error for a time that is no number.
    pub fn close(&mut self, record: usize) -> Result<(), String> {
        for column in self.columns() {
            if column.len() == record {
                column.push_null();
            }
        }
        if self.wanted.contains(&Metadata::SourceTimestamp) {
            let time = match self.source.as_ref().and_then(|c| last_entry(c, b"ts_ms")) {
                None => None,
                Some(text) => Some(
                    number::parse_long(text)
                        .filter(|_| number::trim(text).len() == text.len())
                        .ok_or_else(|| format!("{} is not a number", String::from_utf8_lossy(text)))?,
                ),
            };
            self.source_times.push(time);
        }
        Ok(())
    }

    /// Forgets everything from a record on and says nothing of it.
    pub fn blank(&mut self, record: usize) {
        for column in self.columns() {
            column.truncate(record);
            column.push_null();
        }
        if self.wanted.contains(&Metadata::SourceTimestamp) {
            self.source_times.truncate(record);
            self.source_times.push(None);
        }
    }

    pub fn clear(&mut self) {
        self.columns().for_each(|c| c.truncate(0));
        self.source_times.clear();
    }

    /// The metadata, a row a record.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        let finish = |column: &mut Option<Column>| column.as_mut().map(Column::finish).transpose();
        let schema = finish(&mut self.schema)?;
        let ingestion = finish(&mut self.ingestion)?;
        let source = finish(&mut self.source)?;
        let times = std::mem::take(&mut self.source_times);
        let missing = || Error::internal("metadata of Debezium was not read");
        self.wanted
            .iter()
            .map(|metadata| {
                let property = |key: &str| {
                    let source = source.as_ref().ok_or_else(missing)?;
                    Ok::<ArrayRef, Error>(Arc::new(entries(source.as_map(), key)))
                };
                Ok(match metadata {
                    Metadata::Schema => schema.clone().ok_or_else(missing)?,
                    Metadata::IngestionTimestamp => {
                        let millis = ingestion.as_ref().ok_or_else(missing)?;
                        let millis = millis.as_primitive::<arrow::datatypes::Int64Type>();
                        Arc::new(
                            millis
                                .reinterpret_cast::<TimestampMillisecondType>()
                                .with_timezone("UTC"),
                        )
                    }
                    Metadata::SourceTimestamp => {
                        Arc::new(TimestampMillisecondArray::from(times.clone()).with_timezone("UTC"))
                    }
                    Metadata::SourceDatabase => property("db")?,
                    Metadata::SourceSchema => property("schema")?,
                    Metadata::SourceTable => property("table")?,
                    Metadata::SourceProperties => source.clone().ok_or_else(missing)?,
                })
            })
            .collect()
    }
}

/// The value of a key in the last row of a map of texts under construction.
fn last_entry<'a>(column: &'a Column, wanted: &[u8]) -> Option<&'a [u8]> {
    let Values::Map { offsets, key, value } = &column.values else {
        return None;
    };
    let (Values::Text(keys), Values::Text(values)) = (&key.values, &value.values) else {
        return None;
    };
    let (from, to) = match offsets.as_slice() {
        [.., from, to] => (*from as usize, *to as usize),
        _ => return None,
    };
    let text = |of: &'a crate::column::VarBytes, i: usize| {
        &of.data[of.offsets[i] as usize..of.offsets[i + 1] as usize]
    };
    let at = (from..to).find(|&i| text(keys, i) == wanted)?;
    (!value.is_null(at)).then(|| text(values, at))
}

/// What each row of a map of texts has under a key.
fn entries(maps: &MapArray, wanted: &str) -> StringArray {
    let (keys, values) = (maps.keys().as_string::<i32>(), maps.values().as_string::<i32>());
    (0..maps.len())
        .map(|row| {
            let (from, to) = (
                maps.value_offsets()[row] as usize,
                maps.value_offsets()[row + 1] as usize,
            );
            let at = (from..to).find(|&i| keys.value(i) == wanted)?;
            values.is_valid(at).then(|| values.value(at))
        })
        .collect()
}
