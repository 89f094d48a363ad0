//! Records to rows, in one pass, as Flink's `DebeziumJsonDeserializationSchema` reads them.
//!
//! `before` and `after` are read into rows as they come, which is almost always the order in which
//! their rows go out: before, then after, each only where the operation has one. Where it is not,
//! they are read once more when the whole record is known.

use arrow::array::{ArrayRef, UInt8Array, UInt32Array};
use arrow::compute::take;
use millrace_connector_api::format::{DecodeError, Decoded, Decoder, Payloads};
use millrace_core::{Error, RowKind};
use millrace_expr::RowType;

use super::super::cursor::Cursor;
use super::super::decode::{Reader, Settings, check_utf8, refused};
use super::super::fault::Fault;
use super::super::order::Order;
use super::source::{Beside, Metadata};
use crate::column::{Column, RowColumns};

type Result<T, E = Fault> = std::result::Result<T, E>;

/// Members of a record, by their place in `NAMES`.
const NAMES: [&str; 6] = ["before", "after", "op", "source", "ts_ms", "schema"];
const BEFORE: u32 = 0;
const AFTER: u32 = 1;
const OP: u32 = 2;
const SOURCE: u32 = 3;
const INGESTION: u32 = 4;

/// Members of a record with a schema.
const OUTER: [&str; 2] = ["payload", "schema"];
const PAYLOAD: u32 = 0;

pub struct DebeziumDecoder {
    rows: RowColumns,
    kinds: Vec<u8>,
    beside: Beside,
    reader: Reader,
    /// The order in which the last record had its members, and its outer ones.
    order: Order,
    outer: Order,
    schema_include: bool,
}

/// Which of a record's two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Image {
    Before,
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Create,
    Update,
    Delete,
}

/// What was met of a record.
#[derive(Default)]
struct Envelope {
    /// The images in the order in which they were read.
    read: Vec<Image>,
    /// Where each of them begins, of several the last one.
    before: Option<usize>,
    after: Option<usize>,
    op: Option<Op>,
    /// An operation that there is not, as text.
    unknown_op: Option<String>,
}

impl DebeziumDecoder {
    pub fn new(fields: &RowType, metadata: &[Metadata], settings: Settings, schema_include: bool) -> Self {
        DebeziumDecoder {
            rows: RowColumns::new(&fields.fields),
            kinds: Vec::new(),
            beside: Beside::new(metadata),
            reader: Reader::new(fields, settings),
            order: Order::new(NAMES.into_iter()),
            outer: Order::new(OUTER.into_iter()),
            schema_include,
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.rows.rows = rows;
        self.rows.fields.iter_mut().for_each(|c| c.truncate(rows));
        self.kinds.truncate(rows);
    }

    /// Reads one record and the kinds of its rows.
    fn record(&mut self, payloads: &Payloads, record: usize, all_utf8: bool) -> Result<()> {
        let range = payloads.range(record);
        check_utf8(&payloads.data, range.clone(), all_utf8)?;
        let first = self.rows.rows;
        let mut cursor = Cursor::new(&payloads.data, range.start, range.end);
        cursor.skip_byte_order_mark();
        cursor.skip_space();
        let is_array = cursor.peek() == b'[';
        if is_array {
            cursor.at += 1;
            cursor.skip_space();
        }
        let mut envelope = Envelope::default();
        if self.schema_include {
            self.outer(&mut cursor, &mut envelope, first, record)?;
        } else {
            self.members(&mut cursor, &mut envelope, record)?;
        }
        if is_array {
            cursor.skip_space();
            if cursor.peek() != b']' {
                return Err(cursor.unexpected("the end of an array with one change"));
            }
        }
        let fault = |what: String| Err(Fault::value(0, what));
        let op = match (envelope.op, envelope.unknown_op.take()) {
            (Some(op), _) => op,
            (None, Some(op)) => return fault(format!("\"op\" is \"{op}\", which is none of c, r, u and d")),
            (None, None) => return fault("there is no \"op\"".to_owned()),
        };
        let wanted: &[Image] = match op {
            Op::Create => &[Image::After],
            Op::Update => &[Image::Before, Image::After],
            Op::Delete => &[Image::Before],
        };
        for image in wanted {
            match (image, op) {
                (Image::Before, _) if envelope.before.is_none() => {
                    let op = if op == Op::Delete {
                        "a deletion"
                    } else {
                        "an update"
                    };
                    return fault(format!(
                        "\"before\" of {op} is null; of Debezium's Postgres connector, the table has to have \
                         REPLICA IDENTITY FULL"
                    ));
                }
                (Image::After, _) if envelope.after.is_none() => {
                    return fault("\"after\" is null".to_owned());
                }
                _ => {}
            }
        }
        if envelope.read != wanted {
            self.truncate(first);
            for image in wanted {
                let place = match image {
                    Image::Before => envelope.before,
                    Image::After => envelope.after,
                };
                cursor.at = place.unwrap_or(range.end);
                self.reader.object(&mut self.rows, &mut cursor)?;
            }
        }
        self.beside
            .close(record)
            .map_err(|what| Fault::value(0, what).within("source.ts_ms"))?;
        self.kinds.extend(match op {
            Op::Create => [RowKind::Insert as u8].as_slice(),
            Op::Update => &[RowKind::UpdateBefore as u8, RowKind::UpdateAfter as u8],
            Op::Delete => &[RowKind::Delete as u8],
        });
        Ok(())
    }

    /// Reads an object with a schema and the record itself.
    fn outer(
        &mut self,
        cursor: &mut Cursor<'_>,
        envelope: &mut Envelope,
        first: usize,
        record: usize,
    ) -> Result<()> {
        if cursor.peek() != b'{' {
            return Err(cursor.unexpected("an object"));
        }
        let (mut nth, mut between) = (0, cursor.at);
        while let Some(found) = member(&mut self.reader, &mut self.outer, cursor, nth, between)? {
            match found {
                Some(PAYLOAD) if cursor.peek() == b'{' => {
                    // Of a repeated payload the last one counts.
                    self.truncate(first);
                    *envelope = Envelope::default();
                    self.members(cursor, envelope, record)?;
                }
                Some(PAYLOAD) => cursor.skip_value()?,
                Some(_) => read_or_skip(&mut self.reader, self.beside.schema.as_mut(), cursor, record)?,
                None => cursor.skip_value()?,
            }
            nth += 1;
            between = cursor.at;
        }
        Ok(())
    }

    /// Reads the object with the images.
    fn members(&mut self, cursor: &mut Cursor<'_>, envelope: &mut Envelope, record: usize) -> Result<()> {
        if cursor.peek() != b'{' {
            return Err(cursor.unexpected("an object"));
        }
        let (mut nth, mut between) = (0, cursor.at);
        while let Some(found) = member(&mut self.reader, &mut self.order, cursor, nth, between)? {
            match found {
                Some(BEFORE) => {
                    envelope.before = self.image(Image::Before, cursor, &mut envelope.read)?;
                }
                Some(AFTER) => {
                    envelope.after = self.image(Image::After, cursor, &mut envelope.read)?;
                }
                Some(OP) => self.op(cursor, envelope)?,
                Some(SOURCE) => {
                    read_or_skip(&mut self.reader, self.beside.source.as_mut(), cursor, record)?;
                }
                Some(INGESTION) => {
                    read_or_skip(&mut self.reader, self.beside.ingestion.as_mut(), cursor, record)?;
                }
                Some(_) if !self.schema_include => {
                    read_or_skip(&mut self.reader, self.beside.schema.as_mut(), cursor, record)?;
                }
                _ => cursor.skip_value()?,
            }
            nth += 1;
            between = cursor.at;
        }
        Ok(())
    }

    /// Reads an image into the next row; gives where it begins, or nothing where there is none.
    fn image(
        &mut self,
        image: Image,
        cursor: &mut Cursor<'_>,
        read: &mut Vec<Image>,
    ) -> Result<Option<usize>> {
        cursor.skip_space();
        let begin = cursor.at;
        match cursor.peek() {
            b'n' => {
                cursor.word("null")?;
                return Ok(None);
            }
            b'{' => match self.reader.object(&mut self.rows, cursor) {
                Ok(()) => {
                    read.push(image);
                    return Ok(Some(begin));
                }
                Err(fault) if fault.is_malformed() || !self.reader.settings.ignore_parse_errors => {
                    return Err(fault);
                }
                Err(_) => {
                    let rows = self.rows.rows;
                    self.rows.fields.iter_mut().for_each(|c| c.truncate(rows));
                    cursor.at = begin;
                }
            },
            _ if !self.reader.settings.ignore_parse_errors => {
                return Err(cursor.wrong_value(begin, "a row's columns"));
            }
            _ => {}
        }
        cursor.skip_value()?;
        Ok(None)
    }

    fn op(&mut self, cursor: &mut Cursor<'_>, envelope: &mut Envelope) -> Result<()> {
        (envelope.op, envelope.unknown_op) = (None, None);
        cursor.skip_space();
        if cursor.peek() == b'n' {
            return cursor.word("null");
        }
        let begin = cursor.at;
        let text = match self.reader.scalar(cursor)? {
            Some(text) => text.bytes(),
            None => {
                cursor.skip_value()?;
                cursor.slice(begin, cursor.at)
            }
        };
        match text {
            b"c" | b"r" => envelope.op = Some(Op::Create),
            b"u" => envelope.op = Some(Op::Update),
            b"d" => envelope.op = Some(Op::Delete),
            other => envelope.unknown_op = Some(String::from_utf8_lossy(other).into_owned()),
        }
        Ok(())
    }
}

/// Reads up to the next member's value: which one it is, if it is a known one; nothing at the end.
fn member(
    reader: &mut Reader,
    order: &mut Order,
    cursor: &mut Cursor<'_>,
    nth: usize,
    between: usize,
) -> Result<Option<Option<u32>>> {
    let (text, at) = cursor.rest();
    if let Some((found, value)) = order.predict(nth, text, at) {
        cursor.at = value;
        return Ok(Some(found));
    }
    reader.key(order, cursor, nth, between)
}

/// Reads a value into the row of a record, in place of what may be there, if there is a column for it.
fn read_or_skip(
    reader: &mut Reader,
    column: Option<&mut Column>,
    cursor: &mut Cursor<'_>,
    record: usize,
) -> Result<()> {
    match column {
        None => cursor.skip_value(),
        Some(column) => {
            column.truncate(record);
            reader.value(column, cursor)
        }
    }
}

impl Decoder for DebeziumDecoder {
    fn decode(&mut self, payloads: &Payloads) -> Result<Decoded, DecodeError> {
        let all_utf8 = std::str::from_utf8(&payloads.data).is_ok();
        let mut skipped = 0;
        let mut sources: Vec<u32> = Vec::with_capacity(payloads.len());
        for record in 0..payloads.len() {
            let before = self.rows.rows;
            if payloads.range(record).is_empty() {
                // A tombstone, which follows a deletion for the sake of Kafka's compaction.
                self.beside.blank(record);
                continue;
            }
            if let Err(fault) = self.record(payloads, record, all_utf8) {
                self.truncate(before);
                if !self.reader.settings.ignore_parse_errors {
                    self.truncate(0);
                    self.beside.clear();
                    return Err(DecodeError {
                        payload: record,
                        error: refused("debezium-json", &fault, &payloads.data[payloads.range(record)]),
                    });
                }
                self.beside.blank(record);
                skipped += 1;
            }
            sources.extend(std::iter::repeat_n(record as u32, self.rows.rows - before));
        }
        let rows = std::mem::take(&mut self.rows.rows);
        let mut finish = || -> Result<Vec<ArrayRef>, Error> {
            let mut columns: Vec<ArrayRef> = self
                .rows
                .fields
                .iter_mut()
                .map(Column::finish)
                .collect::<Result<_, _>>()?;
            if self.beside.is_empty() {
                return Ok(columns);
            }
            let records = UInt32Array::from(sources.clone());
            for metadata in self.beside.finish()? {
                let of_rows = take(&metadata, &records, None)
                    .map_err(|e| Error::internal("metadata does not fit its rows").with_source(e))?;
                columns.push(of_rows);
            }
            Ok(columns)
        };
        let columns = finish().map_err(|error| DecodeError { payload: 0, error })?;
        let kinds = std::mem::take(&mut self.kinds);
        let is_one_to_one = sources.len() == payloads.len() && sources.iter().copied().eq(0..rows as u32);
        Ok(Decoded {
            columns,
            rows,
            kinds: kinds
                .iter()
                .any(|k| *k != RowKind::Insert as u8)
                .then(|| UInt8Array::from(kinds)),
            row_sources: (!is_one_to_one).then_some(sources),
            skipped,
        })
    }
}
