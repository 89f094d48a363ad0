//! Elements as bytes: what an edge between two processes carries.
//!
//! A frame is its format's version (u8), its kind (u8), a body, and xxh3-64 of all before (u64); numbers are
//! little-endian. The checksum is for what a network or a bug does to a frame, so that nobody looks for rows in it.
//!
//! | kind | body |
//! |---|---|
//! | 0 batch | what is there beside the columns (u8 of bits: 1 kinds, 2 splits, 4 watermarks); rows (u32); kinds: a u8 a row; splits: their number (u32), then of each its id and its rows (u32, u32); watermarks: an i64 a row; the length of Arrow's message (u32), the message (a RecordBatch of Arrow IPC), its buffers |
//! | 1 watermark | i64 |
//! | 2 idle, 4 end of input | |
//! | 5 splits | their number (u32), the id of each (u32) |
//! | 3 barrier | checkpoint (u64), timestamp (i64), bits (u8: 1 stop, 2 drain), newest complete checkpoint (u64, 0: none) |
//!
//! Both ends know the rows' schema from the job graph: it is not sent.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::UInt8Array;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::root_as_message;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use millrace_connector_api::ChangeBatch;
use millrace_core::{CheckpointId, Error, Result, RowKind, key_group};

use crate::element::{Barrier, Batch, Element};
use crate::operators::kernel;

const VERSION: u8 = 1;

const BATCH: u8 = 0;
const WATERMARK: u8 = 1;
const IDLE: u8 = 2;
const BARRIER: u8 = 3;
const END_OF_INPUT: u8 = 4;
const OPEN_SPLITS: u8 = 5;

const KINDS: u8 = 1;
const SPLITS: u8 = 2;
const WATERMARKS: u8 = 4;

/// Encodes and decodes the elements of one edge.
pub struct Wire {
    schema: SchemaRef,
}

impl Wire {
    /// `schema` is that of the edge's rows.
    pub fn new(schema: SchemaRef) -> Self {
        Wire { schema }
    }

    /// Fails for columns that have another type than the edge's.
    pub fn encode(&self, element: &Element) -> Result<Vec<u8>> {
        let mut bytes = vec![VERSION];
        match element {
            Element::Batch(batch) => {
                bytes.push(BATCH);
                self.encode_batch(batch, &mut bytes)?;
            }
            Element::Watermark(watermark) => {
                bytes.push(WATERMARK);
                bytes.extend(watermark.to_le_bytes());
            }
            Element::Idle => bytes.push(IDLE),
            Element::Barrier(barrier) => {
                bytes.push(BARRIER);
                bytes.extend(barrier.checkpoint.0.to_le_bytes());
                bytes.extend(barrier.timestamp.to_le_bytes());
                bytes.push(u8::from(barrier.stop) | u8::from(barrier.drain) << 1);
                bytes.extend(barrier.complete.map_or(0, |id| id.0).to_le_bytes());
            }
            Element::Splits(splits) => {
                bytes.push(OPEN_SPLITS);
                push_count(&mut bytes, splits.len())?;
                bytes.extend(splits.iter().flat_map(|split| split.to_le_bytes()));
            }
            Element::EndOfInput => bytes.push(END_OF_INPUT),
        }
        Ok(Self::sealed(bytes))
    }

    /// With its checksum behind it.
    pub(crate) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let checksum = key_group::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    fn encode_batch(&self, batch: &Batch, bytes: &mut Vec<u8>) -> Result<()> {
        let rows = &batch.change.rows;
        let types = |schema: &SchemaRef| -> Vec<_> {
            let fields = schema.fields().iter();
            fields.map(|field| field.data_type().clone()).collect()
        };
        if types(&rows.schema()) != types(&self.schema) {
            return Err(
                Error::internal("a batch has other columns than its edge").with_detail(format!(
                    "{:?} on an edge of {:?}",
                    types(&rows.schema()),
                    types(&self.schema)
                )),
            );
        }
        let flag = |is_there, bit| if is_there { bit } else { 0 };
        bytes.push(
            flag(batch.change.kinds.is_some(), KINDS)
                | flag(batch.splits.is_some(), SPLITS)
                | flag(batch.watermarks.is_some(), WATERMARKS),
        );
        push_count(bytes, rows.num_rows())?;
        if let Some(kinds) = &batch.change.kinds {
            bytes.extend_from_slice(kinds.values());
        }
        if let Some(splits) = &batch.splits {
            push_count(bytes, splits.len())?;
            for (split, rows) in splits.iter() {
                bytes.extend(split.to_le_bytes());
                push_count(bytes, *rows)?;
            }
        }
        if let Some(watermarks) = &batch.watermarks {
            bytes.extend(watermarks.iter().flat_map(|watermark| watermark.to_le_bytes()));
        }
        let (_, data) = IpcDataGenerator::default()
            .encode(
                rows,
                &mut DictionaryTracker::new(false),
                &IpcWriteOptions::default(),
                &mut Default::default(),
            )
            .map_err(kernel)?;
        push_count(bytes, data.ipc_message.len())?;
        bytes.extend_from_slice(&data.ipc_message);
        bytes.extend_from_slice(&data.arrow_data);
        Ok(())
    }

    /// Fails for bytes that no `encode` has given.
    pub fn decode(&self, bytes: &[u8]) -> Result<Element> {
        let version = Frame(bytes).byte()?;
        if version != VERSION {
            return Err(
                Error::external("another subtask sends frames of a format that is not known")
                    .with_detail(format!("version {version}, known is {VERSION}"))
                    .with_hint("run the same release of Millrace on all machines"),
            );
        }
        let (frame, checksum) = bytes
            .split_last_chunk()
            .ok_or_else(|| damaged().with_detail("a frame is cut off"))?;
        if key_group::hash(frame).to_le_bytes() != *checksum {
            return Err(damaged().with_detail("a frame has another checksum than was sent"));
        }
        let mut frame = Frame(frame);
        frame.byte()?;
        let element = match frame.byte()? {
            BATCH => return self.decode_batch(frame),
            WATERMARK => Element::Watermark(frame.long()?),
            IDLE => Element::Idle,
            BARRIER => {
                let checkpoint = CheckpointId(frame.long()? as u64);
                let timestamp = frame.long()?;
                let bits = frame.byte()?;
                if bits > 3 {
                    return Err(damaged().with_detail(format!("a barrier with {bits}")));
                }
                Element::Barrier(Barrier {
                    checkpoint,
                    timestamp,
                    stop: bits & 1 != 0,
                    drain: bits & 2 != 0,
                    complete: match frame.long()? {
                        0 => None,
                        id => Some(CheckpointId(id as u64)),
                    },
                })
            }
            OPEN_SPLITS => {
                let count = frame.count()?;
                let splits = (0..count).map(|_| Ok(frame.count()? as u32));
                Element::Splits(splits.collect::<Result<_>>()?)
            }
            END_OF_INPUT => Element::EndOfInput,
            kind => return Err(damaged().with_detail(format!("a frame of kind {kind}"))),
        };
        match frame.0.is_empty() {
            true => Ok(element),
            false => Err(damaged().with_detail(format!("{} bytes are left over", frame.0.len()))),
        }
    }

    fn decode_batch(&self, mut frame: Frame<'_>) -> Result<Element> {
        let there = frame.byte()?;
        let count = frame.count()?;
        let kinds = match there & KINDS {
            0 => None,
            _ => {
                let kinds = frame.take(count)?.to_vec();
                if let Some(kind) = kinds.iter().find(|kind| RowKind::from_u8(**kind).is_none()) {
                    return Err(damaged().with_detail(format!("a row of kind {kind}")));
                }
                Some(UInt8Array::from(kinds))
            }
        };
        let splits = match there & SPLITS {
            0 => None,
            _ => {
                let splits = frame.count()?;
                let split = |_| Ok((frame.count()? as u32, frame.count()?));
                let splits: Arc<[(u32, usize)]> = (0..splits).map(split).collect::<Result<_>>()?;
                let rows: usize = splits.iter().map(|(_, rows)| rows).sum();
                if rows != count {
                    return Err(damaged().with_detail(format!("splits of {rows} rows for {count}")));
                }
                Some(splits)
            }
        };
        let watermarks = match there & WATERMARKS {
            0 => None,
            _ => Some((0..count).map(|_| frame.long()).collect::<Result<_>>()?),
        };
        let length = frame.count()?;
        let message =
            root_as_message(frame.take(length)?).map_err(|e| damaged().with_detail(e.to_string()))?;
        let header = message.header_as_record_batch().ok_or_else(damaged)?;
        // Arrow slices without a look at what is there.
        let body = frame.0.len() as i64;
        let is_within = |offset: i64, length: i64| {
            offset >= 0 && length >= 0 && offset.checked_add(length).is_some_and(|end| end <= body)
        };
        let buffers = header.buffers();
        if message.bodyLength() != body
            || !buffers
                .iter()
                .flatten()
                .all(|buffer| is_within(buffer.offset(), buffer.length()))
        {
            return Err(damaged().with_detail(format!(
                "{body} bytes of columns instead of {}",
                message.bodyLength()
            )));
        }
        // What no checksum tells from good (somebody has made it so), Arrow may meet with a panic.
        let read = catch_unwind(AssertUnwindSafe(|| {
            read_record_batch(
                &Buffer::from(frame.0),
                header,
                self.schema.clone(),
                &HashMap::new(),
                None,
                &message.version(),
            )
        }));
        let rows = read
            .map_err(|_| damaged().with_detail("columns that are none"))?
            .map_err(|e| damaged().with_source(e))?;
        if rows.num_rows() != count {
            return Err(damaged().with_detail(format!("{} rows instead of {count}", rows.num_rows())));
        }
        Ok(Element::Batch(Batch {
            change: ChangeBatch { rows, kinds },
            splits,
            watermarks,
        }))
    }
}

fn push_count(bytes: &mut Vec<u8>, count: usize) -> Result<()> {
    let count = u32::try_from(count)
        .map_err(|_| Error::internal("a batch is too large for a frame").with_detail(count.to_string()))?;
    bytes.extend(count.to_le_bytes());
    Ok(())
}

fn damaged() -> Error {
    Error::external("what came from another subtask cannot be read")
}

/// What is left of a frame.
struct Frame<'a>(&'a [u8]);

impl<'a> Frame<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| damaged().with_detail("a frame is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn count(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn long(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Decimal128Array, Int32Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::{Int32Type, Schema};
    use arrow::record_batch::{RecordBatch, RecordBatchOptions};

    use super::*;

    fn rows() -> RecordBatch {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![Some(7)]),
        ]);
        let columns: [(&str, ArrayRef); 4] = [
            (
                "a",
                Arc::new(Int64Array::from(vec![Some(1), None, Some(-3), Some(4)])),
            ),
            (
                "s",
                Arc::new(StringArray::from(vec![Some("x"), Some(""), None, Some("ß")])),
            ),
            (
                "d",
                Arc::new(
                    Decimal128Array::from(vec![Some(100), None, Some(-7), Some(0)])
                        .with_precision_and_scale(10, 2)
                        .unwrap(),
                ),
            ),
            ("l", Arc::new(list)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn whole() -> Batch {
        Batch {
            change: ChangeBatch {
                rows: rows(),
                kinds: Some(UInt8Array::from(vec![0, 1, 2, 3])),
            },
            splits: Some([(0, 3), (7, 1)].into()),
            watermarks: Some([i64::MIN, -1, 5, i64::MAX].into()),
        }
    }

    fn carried(batch: &Batch) -> Batch {
        let wire = Wire::new(batch.change.rows.schema());
        let bytes = wire.encode(&Element::Batch(batch.clone())).unwrap();
        match wire.decode(&bytes).unwrap() {
            Element::Batch(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    fn assert_same(a: &Batch, b: &Batch) {
        assert_eq!(a.change.rows, b.change.rows);
        assert_eq!(a.change.kinds, b.change.kinds);
        assert_eq!(a.splits, b.splits);
        assert_eq!(a.watermarks, b.watermarks);
    }

    #[test]
    fn a_batch_comes_with_all_that_belongs_to_its_rows() {
        assert_same(&carried(&whole()), &whole());
        let bare: Batch = ChangeBatch::inserts(rows()).into();
        assert_same(&carried(&bare), &bare);
    }

    #[test]
    fn a_part_of_a_batch_and_one_without_rows_or_columns_come_as_they_are() {
        for (from, count) in [(1, 2), (3, 1), (2, 0)] {
            let part: Batch = ChangeBatch::inserts(rows().slice(from, count)).into();
            assert_same(&carried(&part), &part);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(5));
        let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        let none: Batch = ChangeBatch::inserts(none).into();
        assert_same(&carried(&none), &none);
    }

    #[test]
    fn what_is_no_batch_comes_as_it_is() {
        let wire = Wire::new(Arc::new(Schema::empty()));
        let barrier = Barrier {
            checkpoint: CheckpointId(7),
            timestamp: 1_700_000_000_000,
            stop: true,
            drain: true,
            complete: Some(CheckpointId(6)),
        };
        for element in [
            Element::Watermark(i64::MIN),
            Element::Watermark(i64::MAX),
            Element::Idle,
            Element::Barrier(barrier),
            Element::EndOfInput,
        ] {
            let came = wire.decode(&wire.encode(&element).unwrap()).unwrap();
            assert_eq!(format!("{came:?}"), format!("{element:?}"));
        }
    }

    #[test]
    fn no_cut_and_no_addition_is_taken_for_an_element() {
        let wire = Wire::new(rows().schema());
        let barrier = Element::Barrier(Barrier {
            checkpoint: CheckpointId(7),
            timestamp: 1,
            stop: false,
            drain: false,
            complete: None,
        });
        for element in [
            Element::Batch(whole()),
            barrier,
            Element::Watermark(3),
            Element::Idle,
        ] {
            let mut bytes = wire.encode(&element).unwrap();
            for length in 0..bytes.len() {
                assert!(wire.decode(&bytes[..length]).is_err(), "{length} of {element:?}");
            }
            bytes.push(0);
            assert!(wire.decode(&bytes).is_err(), "{element:?} and a byte");
        }
        let mut bytes = wire.encode(&Element::Idle).unwrap();
        bytes.push(0);
        assert!(wire.decode(&bytes).is_err());
        bytes[0] = 2;
        let e = wire.decode(&bytes).unwrap_err().to_string();
        assert!(e.contains("version 2") && e.contains("same release"), "{e}");
    }

    #[test]
    fn columns_of_another_type_are_refused() {
        let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let other = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let batch = Element::Batch(ChangeBatch::inserts(other).into());
        assert!(Wire::new(rows().schema()).encode(&batch).is_err());
    }
}
