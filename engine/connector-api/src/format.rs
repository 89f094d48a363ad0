//! Formats: record payloads to rows and back, column by column.

use std::ops::Range;

use arrow::array::{ArrayRef, UInt8Array};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::{Field, RowType};

use crate::ChangeBatch;
use crate::option::OptionSpec;

/// A format by its identifier (`json`, `csv`, `raw`). Options are declared without their prefix:
/// `ignore-parse-errors` is read from `json.ignore-parse-errors`, `value.json.…` or `key.json.…`.
pub trait Format: Send + Sync {
    fn identifier(&self) -> &'static str;
    fn options(&self) -> &'static [OptionSpec];
    /// Whether a record's fields are found by their names, so that a decoder may be made for a part
    /// of a record's fields. Without it a decoder is made for all of them, in the record's order.
    fn finds_fields_by_name(&self) -> bool {
        false
    }
    /// Whether records say which kinds of rows they hold: then a decoder gives, and an encoder takes,
    /// rows of all kinds. Without it all rows are inserts.
    fn is_changelog(&self) -> bool {
        false
    }
    /// What a record has beside its fields that columns can be read from: key and type.
    fn metadata(&self) -> Vec<Field> {
        Vec::new()
    }
    /// A decoder whose columns are `fields`, then the `metadata` of these keys.
    fn decoder_with_metadata(
        &self,
        table: &TableSpec,
        prefix: &str,
        fields: &RowType,
        metadata: &[&str],
    ) -> Result<Box<dyn Decoder>> {
        match metadata {
            [] => self.decoder(table, prefix, fields),
            [key, ..] => Err(Error::internal(format!(
                "the format {} has no metadata '{key}'",
                self.identifier()
            ))),
        }
    }
    /// A decoder for `fields`, its options under `prefix` (`json.`, `value.json.`, `key.json.`).
    fn decoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Decoder>>;
    fn encoder(&self, table: &TableSpec, prefix: &str, fields: &RowType) -> Result<Box<dyn Encoder>>;
    /// Checks options and types for both directions without making anything.
    fn validate(&self, table: &TableSpec, prefix: &str, fields: &[Field]) -> Result<()>;
}

/// Payloads in one buffer: record i is `data[offsets[i]..offsets[i + 1]]`, or null (a tombstone).
#[derive(Debug, Clone)]
pub struct Payloads {
    pub data: Vec<u8>,
    /// One more than there are records; starts with 0.
    pub offsets: Vec<u32>,
    /// Indexes of null payloads, ascending.
    pub nulls: Vec<u32>,
}

impl Default for Payloads {
    /// No records, which takes an offset.
    fn default() -> Self {
        Payloads::new()
    }
}

impl Payloads {
    pub fn new() -> Self {
        Payloads {
            data: Vec::new(),
            offsets: vec![0],
            nulls: Vec::new(),
        }
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.offsets.truncate(1);
        self.nulls.clear();
    }

    pub fn push(&mut self, payload: Option<&[u8]>) {
        match payload {
            Some(bytes) => self.data.extend_from_slice(bytes),
            None => self.nulls.push(self.len() as u32),
        }
        self.offsets.push(self.data.len() as u32);
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn range(&self, i: usize) -> Range<usize> {
        self.offsets[i] as usize..self.offsets[i + 1] as usize
    }

    pub fn get(&self, i: usize) -> Option<&[u8]> {
        if !self.nulls.is_empty() && self.nulls.binary_search(&(i as u32)).is_ok() {
            return None;
        }
        Some(&self.data[self.range(i)])
    }
}

/// Decodes payloads into columns.
pub trait Decoder: Send {
    /// Decodes all payloads. A payload gives no row (null payload, skipped error), one, or many (an
    /// array); rows are in the order of their payloads.
    fn decode(&mut self, payloads: &Payloads) -> Result<Decoded, DecodeError>;
}

/// Columns, and for each row the payload it comes from; `None` where row i is payload i for all.
pub struct Decoded {
    pub columns: Vec<ArrayRef>,
    pub rows: usize,
    /// `RowKind as u8` of each row; absent where all are inserts.
    pub kinds: Option<UInt8Array>,
    pub row_sources: Option<Vec<u32>>,
    /// Payloads left out because they did not parse, or did not to their end.
    pub skipped: u64,
}

/// A payload that does not parse: the caller knows its topic, partition and offset.
#[derive(Debug)]
pub struct DecodeError {
    /// Index of the payload.
    pub payload: usize,
    pub error: Error,
}

/// Encodes rows into payloads.
pub trait Encoder: Send {
    /// Appends one payload a row to `out`. Kinds of rows are written by formats that are a changelog;
    /// to others they do not matter.
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Payloads) -> Result<()>;
}
