//! A checkpoint's own description, the file `_metadata`: self-contained but for the state files
//! that it names, each with its size and checksum.
//!
//! Layout of the file: magic `MRCKPT`, format version (u16), length of the body (u64), body
//! (protobuf), xxh3-64 of all before; numbers little-endian.

use millrace_core::{Error, Result};
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use crate::keyed::KeyedFiles;
use crate::schema::StateSchema;
use crate::store::Store;

const MAGIC: &[u8; 6] = b"MRCKPT";
const VERSION: u16 = 1;
const HEADER: usize = MAGIC.len() + 2 + 8;

#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(uint64, tag = "1")]
    pub checkpoint: u64,
    /// The epoch that took it.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Milliseconds since 1970, of the trigger.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
    #[prost(string, tag = "4")]
    pub job_name: String,
    #[prost(message, repeated, tag = "5")]
    pub operators: Vec<OperatorState>,
    /// Every source was at its end: nothing follows.
    #[prost(bool, tag = "6")]
    pub is_final: bool,
    /// A savepoint: all that its sinks hold was committed before it was written. Whoever restores it commits nothing
    /// of it, and leaves alone what the job that took it has begun since.
    #[prost(bool, tag = "7")]
    pub is_committed: bool,
    /// The paths of its files are relative to its own folder: it can be moved as a whole.
    #[prost(bool, tag = "8")]
    pub is_self_contained: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct OperatorState {
    #[prost(string, tag = "1")]
    pub uid: String,
    /// The operator's name, for messages.
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "3")]
    pub subtasks: Vec<SubtaskState>,
    /// Of keyed state; absent where there is none, and in checkpoints of engines that did not write it.
    #[prost(message, optional, tag = "4")]
    pub schema: Option<StateSchema>,
}

/// The state of one subtask: entries that can be handed to any other subtask, and keyed state.
#[derive(Clone, PartialEq, Message)]
pub struct SubtaskState {
    #[prost(uint32, tag = "1")]
    pub subtask: u32,
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<StateBlob>,
    #[prost(message, optional, tag = "3")]
    pub keyed: Option<KeyedFiles>,
}

/// State bytes: small ones stand in `_metadata` itself, large ones in a file.
#[derive(Clone, PartialEq, Message)]
pub struct StateBlob {
    #[prost(oneof = "Blob", tags = "1, 2")]
    pub blob: Option<Blob>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Blob {
    #[prost(bytes, tag = "1")]
    Inline(Vec<u8>),
    #[prost(message, tag = "2")]
    File(FileRef),
}

#[derive(Clone, PartialEq, Message)]
pub struct FileRef {
    /// Relative to the checkpoint folder of all jobs.
    #[prost(string, tag = "1")]
    pub path: String,
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    #[prost(uint64, tag = "3")]
    pub xxh3: u64,
}

impl FileRef {
    /// A file with these bytes.
    pub fn of(path: impl Into<String>, bytes: &[u8]) -> Self {
        FileRef {
            path: path.into(),
            bytes: bytes.len() as u64,
            xxh3: xxh3_64(bytes),
        }
    }
}

impl StateBlob {
    pub fn inline(bytes: Vec<u8>) -> Self {
        StateBlob {
            blob: Some(Blob::Inline(bytes)),
        }
    }

    pub fn file(file: FileRef) -> Self {
        StateBlob {
            blob: Some(Blob::File(file)),
        }
    }

    /// The file that it stands in.
    pub fn as_file(&self) -> Option<&FileRef> {
        match &self.blob {
            Some(Blob::File(file)) => Some(file),
            _ => None,
        }
    }

    fn as_file_mut(&mut self) -> Option<&mut FileRef> {
        match &mut self.blob {
            Some(Blob::File(file)) => Some(file),
            _ => None,
        }
    }

    /// Bytes of the state.
    pub fn len(&self) -> u64 {
        match &self.blob {
            None => 0,
            Some(Blob::Inline(bytes)) => bytes.len() as u64,
            Some(Blob::File(file)) => file.bytes,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state's bytes, read and checked where they stand in a file.
    pub fn load(&self, store: &dyn Store) -> Result<Vec<u8>> {
        match &self.blob {
            None => Err(damaged(
                "a state entry of the checkpoint is empty",
                &store.describe(),
            )),
            Some(Blob::Inline(bytes)) => Ok(bytes.clone()),
            Some(Blob::File(file)) => {
                if let Some((bytes, _)) = store.copy_of(file) {
                    return Ok(bytes);
                }
                let place = format!("{}/{}", store.describe(), file.path);
                let bytes = store
                    .get(&file.path)
                    .map_err(|e| e.into_error("reading a state file"))?
                    .ok_or_else(|| damaged("a state file of the checkpoint is missing", &place))?;
                if bytes.len() as u64 != file.bytes {
                    let message = format!(
                        "a state file of the checkpoint has {} bytes where {} were written",
                        bytes.len(),
                        file.bytes
                    );
                    return Err(damaged(&message, &place));
                }
                if xxh3_64(&bytes) != file.xxh3 {
                    return Err(damaged(
                        "a state file of the checkpoint has another checksum than was written",
                        &place,
                    ));
                }
                Ok(bytes)
            }
        }
    }
}

fn damaged(message: &str, place: &str) -> Error {
    Error::data_loss(message).with_detail(place).with_hint(
        "put the file back from a copy, or start from another checkpoint with --from; \
         --fresh starts anew and reads the sources by their startup mode",
    )
}

impl Metadata {
    /// The bytes of the file `_metadata`.
    pub fn encode_file(&self) -> Vec<u8> {
        let body = self.encode_to_vec();
        let mut file = Vec::with_capacity(HEADER + body.len() + 8);
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&(body.len() as u64).to_le_bytes());
        file.extend_from_slice(&body);
        let checksum = xxh3_64(&file);
        file.extend_from_slice(&checksum.to_le_bytes());
        file
    }

    /// Reads the bytes of a `_metadata`; `place` is named in errors.
    pub fn decode_file(bytes: &[u8], place: &str) -> Result<Self> {
        if bytes.len() < HEADER + 8 || &bytes[..MAGIC.len()] != MAGIC {
            return Err(damaged(
                "this is not the _metadata of a checkpoint, or it is cut off",
                place,
            ));
        }
        let (content, checksum) = bytes.split_at(bytes.len() - 8);
        let version = u16::from_le_bytes([bytes[6], bytes[7]]);
        if version != VERSION {
            return Err(Error::user(format!(
                "the checkpoint has format {version}, this engine reads {VERSION}"
            ))
            .with_detail(place)
            .with_hint("run the engine version that wrote it, or a newer one"));
        }
        if checksum != xxh3_64(content).to_le_bytes() {
            return Err(damaged(
                "the _metadata of the checkpoint is cut off or altered",
                place,
            ));
        }
        Metadata::decode(&content[HEADER..])
            .map_err(|e| damaged("the _metadata of the checkpoint does not decode", place).with_source(e))
    }

    pub fn state_files(&self) -> impl Iterator<Item = &FileRef> {
        self.operators.iter().flat_map(|o| &o.subtasks).flat_map(|s| {
            let entries = s.entries.iter().filter_map(StateBlob::as_file);
            entries.chain(s.keyed.iter().flat_map(KeyedFiles::file_refs))
        })
    }

    /// The same, to be named otherwise.
    pub fn state_files_mut(&mut self) -> impl Iterator<Item = &mut FileRef> {
        self.operators
            .iter_mut()
            .flat_map(|o| &mut o.subtasks)
            .flat_map(|s| {
                let entries = s.entries.iter_mut().filter_map(StateBlob::as_file_mut);
                entries.chain(s.keyed.iter_mut().flat_map(KeyedFiles::file_refs_mut))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Metadata {
        Metadata {
            checkpoint: 7,
            epoch: 2,
            timestamp: 1_700_000_000_000,
            job_name: "j".into(),
            operators: vec![OperatorState {
                uid: "source".into(),
                name: "Source: t".into(),
                subtasks: vec![SubtaskState {
                    subtask: 0,
                    entries: vec![StateBlob::inline(vec![1, 2, 3])],
                    keyed: None,
                }],
                schema: None,
            }],
            ..Metadata::default()
        }
    }

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(
            Metadata::decode_file(&sample().encode_file(), "p").unwrap(),
            sample()
        );
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let file = sample().encode_file();
        for length in 0..file.len() {
            assert!(
                Metadata::decode_file(&file[..length], "p").is_err(),
                "cut at {length}"
            );
        }
        for position in 0..file.len() {
            for bit in 0..8 {
                let mut altered = file.clone();
                altered[position] ^= 1 << bit;
                assert!(
                    Metadata::decode_file(&altered, "p").is_err(),
                    "byte {position} bit {bit}"
                );
            }
        }
    }
}
