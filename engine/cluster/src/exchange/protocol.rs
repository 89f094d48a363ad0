//! What goes over a connection between two TaskManagers.
//!
//! The writer's side begins with `HELLO`. Then messages, each with its kind (u8); numbers are little-endian. A channel
//! has a number of the connection's own.
//!
//! | kind | from | body |
//! |---|---|---|
//! | 0 open | writer | number (u32); job (16 bytes), attempt (u64), edge, writing subtask, reading subtask (u32 each) |
//! | 1 element | writer | number (u32), what it takes up: bytes (u64), rows (u32); the frame's length (u32), the frame |
//! | 2 opened | reader | number (u32), bytes that may be on their way (u64) |
//! | 3 freed | reader | number (u32), bytes (u64), rows (u32) |

use std::io::{Error, ErrorKind, Result};

use millrace_core::JobId;
use millrace_runtime::channel::Size;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{AttemptId, ChannelId};

/// What the bytes are, and their version.
pub const HELLO: [u8; 5] = *b"MLRX\x01";

const OPEN: u8 = 0;
const ELEMENT: u8 = 1;
const OPENED: u8 = 2;
const FREED: u8 = 3;

/// No batch comes near it: a longer frame is none of ours.
const LONGEST: usize = 1 << 30;

#[derive(Debug, PartialEq)]
pub enum ToReader {
    Open { number: u32, channel: ChannelId },
    Element { number: u32, size: Size, frame: Vec<u8> },
}

#[derive(Debug, PartialEq)]
pub enum ToWriter {
    Opened { number: u32, capacity: u64 },
    Freed { number: u32, size: Size },
}

impl ToReader {
    pub async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        match self {
            ToReader::Open { number, channel } => {
                let mut bytes = vec![OPEN];
                bytes.extend(number.to_le_bytes());
                bytes.extend(channel.attempt.job.0);
                bytes.extend(channel.attempt.attempt.to_le_bytes());
                for part in [channel.edge, channel.from, channel.to] {
                    bytes.extend(part.to_le_bytes());
                }
                to.write_all(&bytes).await
            }
            ToReader::Element { number, size, frame } => {
                let length = u32::try_from(frame.len()).map_err(|_| damaged("a frame is too long"))?;
                let mut head = [0; 21];
                head[0] = ELEMENT;
                head[1..5].copy_from_slice(&number.to_le_bytes());
                head[5..13].copy_from_slice(&(size.bytes as u64).to_le_bytes());
                head[13..17].copy_from_slice(&(size.rows as u32).to_le_bytes());
                head[17..].copy_from_slice(&length.to_le_bytes());
                to.write_all(&head).await?;
                to.write_all(frame).await
            }
        }
    }

    /// None: the writer has closed the connection between two messages.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<ToReader>> {
        let Some(kind) = kind(from).await? else {
            return Ok(None);
        };
        let number = match kind {
            OPEN | ELEMENT => from.read_u32_le().await?,
            other => return Err(damaged(&format!("a message of kind {other}"))),
        };
        if kind == OPEN {
            let mut job = [0; 16];
            from.read_exact(&mut job).await?;
            let attempt = AttemptId {
                job: JobId(job),
                attempt: from.read_u64_le().await?,
            };
            let channel = ChannelId {
                attempt,
                edge: from.read_u32_le().await?,
                from: from.read_u32_le().await?,
                to: from.read_u32_le().await?,
            };
            return Ok(Some(ToReader::Open { number, channel }));
        }
        let size = Size {
            bytes: from.read_u64_le().await? as usize,
            rows: from.read_u32_le().await? as usize,
        };
        let length = from.read_u32_le().await? as usize;
        if length > LONGEST {
            return Err(damaged(&format!("a frame of {length} bytes")));
        }
        let mut frame = vec![0; length];
        from.read_exact(&mut frame).await?;
        Ok(Some(ToReader::Element { number, size, frame }))
    }
}

impl ToWriter {
    pub async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        let mut bytes = Vec::with_capacity(17);
        match self {
            ToWriter::Opened { number, capacity } => {
                bytes.push(OPENED);
                bytes.extend(number.to_le_bytes());
                bytes.extend(capacity.to_le_bytes());
            }
            ToWriter::Freed { number, size } => {
                bytes.push(FREED);
                bytes.extend(number.to_le_bytes());
                bytes.extend((size.bytes as u64).to_le_bytes());
                bytes.extend((size.rows as u32).to_le_bytes());
            }
        }
        to.write_all(&bytes).await
    }

    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<ToWriter>> {
        let Some(kind) = kind(from).await? else {
            return Ok(None);
        };
        let number = from.read_u32_le().await?;
        match kind {
            OPENED => Ok(Some(ToWriter::Opened {
                number,
                capacity: from.read_u64_le().await?,
            })),
            FREED => {
                let size = Size {
                    bytes: from.read_u64_le().await? as usize,
                    rows: from.read_u32_le().await? as usize,
                };
                Ok(Some(ToWriter::Freed { number, size }))
            }
            other => Err(damaged(&format!("a message of kind {other}"))),
        }
    }
}

async fn kind(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<u8>> {
    match from.read_u8().await {
        Ok(kind) => Ok(Some(kind)),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

pub fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
