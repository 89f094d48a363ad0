//! Record batches (format 2) as the broker looks at them: a head of fixed fields, and records that are its clients'.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records::{
    Compression, NO_SEQUENCE, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

/// Where fields begin.
const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET: usize = 23;
const PRODUCER: usize = 43;
const EPOCH: usize = 51;
const SEQUENCE: usize = 53;
const COUNT: usize = 57;
const HEAD: usize = 61;

const TRANSACTIONAL: u16 = 1 << 4;
const CONTROL: u16 = 1 << 5;

/// What a batch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub last_offset_delta: i32,
    pub is_transactional: bool,
    pub is_control: bool,
    /// -1: of no producer.
    pub producer_id: i64,
    pub epoch: i16,
    pub first_sequence: i32,
}

impl Head {
    pub fn last_sequence(&self) -> i32 {
        self.first_sequence + self.last_offset_delta
    }

    /// None where it is cut off, altered, or of another format.
    pub fn read(batch: &[u8]) -> Option<Head> {
        if batch.len() < HEAD || batch[MAGIC] != 2 {
            return None;
        }
        let crc = u32::from_be_bytes(at(batch, CRC)?);
        if crc32c(&batch[ATTRIBUTES..]) != crc {
            return None;
        }
        let attributes = u16::from_be_bytes(at(batch, ATTRIBUTES)?);
        let count = i32::from_be_bytes(at(batch, COUNT)?);
        let last_offset_delta = i32::from_be_bytes(at(batch, LAST_OFFSET)?);
        (count > 0 && count == last_offset_delta + 1).then_some(Head {
            last_offset_delta,
            is_transactional: attributes & TRANSACTIONAL != 0,
            is_control: attributes & CONTROL != 0,
            producer_id: i64::from_be_bytes(at(batch, PRODUCER)?),
            epoch: i16::from_be_bytes(at(batch, EPOCH)?),
            first_sequence: i32::from_be_bytes(at(batch, SEQUENCE)?),
        })
    }
}

fn at<const N: usize>(batch: &[u8], place: usize) -> Option<[u8; N]> {
    batch.get(place..place + N)?.try_into().ok()
}

/// With the offset that the log gives it. Its checksum is of what follows.
pub fn with_offset(batch: &[u8], offset: i64) -> Bytes {
    let mut batch = batch.to_vec();
    batch[..8].copy_from_slice(&offset.to_be_bytes());
    batch[LEADER_EPOCH..MAGIC].copy_from_slice(&0i32.to_be_bytes());
    batch.into()
}

/// Castagnoli's polynomial, a byte at a time: batches here are small.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 {
                    (crc >> 1) ^ 0x82f6_3b78
                } else {
                    crc >> 1
                };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

/// Who writes a batch.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    pub producer_id: i64,
    pub epoch: i16,
    pub is_transactional: bool,
    pub first_sequence: i32,
}

/// Nobody in particular.
pub const ANYBODY: Writer = Writer {
    producer_id: -1,
    epoch: -1,
    is_transactional: false,
    first_sequence: NO_SEQUENCE,
};

pub type KeyValue = (Option<Bytes>, Option<Bytes>);

pub fn encode(records: &[KeyValue], writer: Writer, timestamp: i64) -> Bytes {
    write(records, writer, timestamp, false)
}

/// The end of a transaction in a partition.
pub fn marker(producer_id: i64, epoch: i16, is_commit: bool, timestamp: i64) -> Bytes {
    let mut key = BytesMut::new();
    key.put_i16(0);
    key.put_i16(i16::from(is_commit));
    let mut value = BytesMut::new();
    value.put_i16(0);
    value.put_i32(0);
    let writer = Writer {
        producer_id,
        epoch,
        is_transactional: true,
        first_sequence: NO_SEQUENCE,
    };
    write(
        &[(Some(key.freeze()), Some(value.freeze()))],
        writer,
        timestamp,
        true,
    )
}

fn write(records: &[KeyValue], writer: Writer, timestamp: i64, control: bool) -> Bytes {
    let numbered = records.iter().enumerate();
    let records: Vec<Record> = numbered
        .map(|(index, (key, value))| Record {
            transactional: writer.is_transactional,
            control,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: writer.producer_id,
            producer_epoch: writer.epoch,
            timestamp_type: TimestampType::Creation,
            offset: index as i64,
            sequence: match writer.first_sequence {
                NO_SEQUENCE => index as i32 - 1,
                first => first + index as i32,
            },
            timestamp,
            key: key.clone(),
            value: value.clone(),
            headers: IndexMap::new(),
        })
        .collect();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("records in memory encode");
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let writer = Writer {
            producer_id: 7,
            epoch: 2,
            is_transactional: true,
            first_sequence: 40,
        };
        let record = (Some(Bytes::from_static(b"k")), Some(Bytes::from_static(b"v")));
        let batch = encode(&[record.clone(), record], writer, 5);
        let head = Head::read(&batch).unwrap();
        assert_eq!((head.first_sequence, head.last_sequence()), (40, 41));
        assert!(head.is_transactional && !head.is_control);
        assert_eq!(Head::read(&with_offset(&batch, 99)), Some(head));
        assert_eq!(Head::read(&batch[..batch.len() - 1]), None);
        assert!(Head::read(&marker(7, 2, true, 5)).unwrap().is_control);
    }
}
