//! A split: one partition, how far it is read, and where its read ends. Its bytes are the state.

use millrace_core::{Error, Result};

/// Version 1, little-endian: version (u8), partition (i32), next offset (i64), whether there is a
/// stop (u8), stop (i64), then the topic in UTF-8 to the end.
const VERSION: u8 = 1;
const FIXED: usize = 1 + 4 + 8 + 1 + 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    pub topic: String,
    pub partition: i32,
    /// The offset of the next record to read.
    pub next: i64,
    /// The first offset that is not read; none if the source is unbounded.
    pub stop: Option<i64>,
}

impl Split {
    pub fn is_finished(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + self.topic.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.partition.to_le_bytes());
        bytes.extend_from_slice(&self.next.to_le_bytes());
        bytes.push(u8::from(self.stop.is_some()));
        bytes.extend_from_slice(&self.stop.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(self.topic.as_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(version) => {
                return Err(
                    Error::user(format!("the state of a Kafka source has version {version}"))
                        .with_hint("a newer Millrace wrote it: restore with that one"),
                );
            }
            None => return Err(damaged()),
        }
        let mut rest = &bytes[1..];
        let partition = i32::from_le_bytes(take(&mut rest)?);
        let next = i64::from_le_bytes(take(&mut rest)?);
        let [has_stop] = take(&mut rest)?;
        let stop = i64::from_le_bytes(take(&mut rest)?);
        let topic = std::str::from_utf8(rest).map_err(|_| damaged())?;
        if has_stop > 1 || partition < 0 || next < 0 || topic.is_empty() {
            return Err(damaged());
        }
        Ok(Split {
            topic: topic.to_owned(),
            partition,
            next,
            stop: (has_stop == 1).then_some(stop),
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or_else(damaged)?;
    *rest = tail;
    Ok(*head)
}

fn damaged() -> Error {
    Error::data_loss("the state of a Kafka source is damaged").with_hint("restore from another checkpoint")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_keeps_everything() {
        for stop in [None, Some(0), Some(i64::MAX)] {
            let split = Split {
                topic: "bestellungen-ä".to_owned(),
                partition: 7,
                next: 1 << 40,
                stop,
            };
            assert_eq!(Split::decode(&split.encode()).unwrap(), split);
        }
    }

    #[test]
    fn the_bytes_of_version_1_stay() {
        let split = Split {
            topic: "t".to_owned(),
            partition: 1,
            next: 2,
            stop: Some(3),
        };
        let bytes = [
            1, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, b't',
        ];
        assert_eq!(split.encode(), bytes);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let good = Split {
            topic: "t".to_owned(),
            partition: 1,
            next: 2,
            stop: None,
        }
        .encode();
        for n in 0..good.len() {
            assert!(Split::decode(&good[..n]).is_err(), "{n} bytes");
        }
        let mut newer = good.clone();
        newer[0] = 2;
        assert!(
            Split::decode(&newer)
                .unwrap_err()
                .to_string()
                .contains("version 2")
        );
    }
}
