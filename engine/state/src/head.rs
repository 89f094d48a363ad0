//! The body of a job's head object. JSON, for people look at it when something went wrong.

use std::collections::BTreeMap;

use millrace_core::{CheckpointId, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

/// Raised when the body's meaning changes; a newer body is refused by an older engine.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub job_name: String,
    /// Grows by one with every attempt to run the job; only the newest may swap.
    pub epoch: u64,
    /// Differs in every swap, so that a swap whose answer was lost can be recognised.
    pub nonce: String,
    pub status: Status,
    /// What the next attempt starts from.
    pub resume: Resume,
    /// Complete checkpoints that are kept, the newest last.
    pub completed: Vec<CompletedCheckpoint>,
    /// All that the checkpoint of this number and earlier ones hold is known to be committed.
    pub committed_through: Option<CheckpointId>,
    /// Numbers below it may have been given to checkpoints: who leads next begins at it or above, so that what is
    /// deleted of them is nobody else's.
    #[serde(default)]
    pub next_checkpoint: CheckpointId,
    /// A checkpoint at another place, which this job deletes once it has one of its own: a path or URI.
    #[serde(default)]
    pub claimed: Option<String>,
    /// What attempts left behind that a later one may have to fence.
    pub attempts: Vec<AttemptRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Running, or ended without a word: the next run resumes.
    Running,
    /// Stopped with a checkpoint: the next run resumes.
    Stopped,
    /// A bounded job came to its end: the next run starts anew.
    Finished,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resume {
    Fresh,
    /// A checkpoint of this job, by the number of its folder.
    Checkpoint(CheckpointId),
    /// A checkpoint at another place.
    Elsewhere {
        /// Path or URI.
        path: String,
        /// An attempt has committed all that it holds.
        committed: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedCheckpoint {
    pub id: CheckpointId,
    /// The epoch that took it.
    pub epoch: u64,
    /// Milliseconds since 1970, of its trigger.
    pub timestamp: i64,
    /// Its folder, relative to the checkpoint folder.
    pub folder: String,
    /// Files that it refers to, `_metadata` included, relative to the checkpoint folder.
    pub files: Vec<String>,
    /// Bytes of those files.
    pub bytes: u64,
}

/// What an attempt wrote down before it opened its sinks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    pub epoch: u64,
    /// By the sink's uid, what its connector needs to fence the attempt; hexadecimal.
    pub sinks: BTreeMap<String, String>,
}

impl Head {
    pub fn new(job_name: &str) -> Self {
        Head {
            job_name: job_name.to_owned(),
            epoch: 0,
            nonce: String::new(),
            status: Status::Running,
            resume: Resume::Fresh,
            completed: Vec::new(),
            committed_through: None,
            next_checkpoint: CheckpointId(0),
            claimed: None,
            attempts: Vec::new(),
        }
    }

    /// The body with its checksum, as the head object holds it.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let failed = |e| Error::internal("the head of a job does not encode").with_source(e);
        let head = serde_json::value::to_raw_value(self).map_err(failed)?;
        let sealed = Sealed {
            format: FORMAT,
            xxh3: checksum(head.get()),
            head: &head,
        };
        serde_json::to_vec(&sealed).map_err(failed)
    }

    pub fn decode(bytes: &[u8], place: &str) -> Result<Self> {
        const HINT: &str = "put the file back from a copy; or remove it, and give the newest checkpoint with --from; \
                            or start anew under another pipeline.name";
        let damaged = |e: serde_json::Error| {
            Error::data_loss("the head of a job cannot be read")
                .with_detail(place)
                .with_source(e)
                .with_hint(HINT)
        };
        let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format != FORMAT {
            return Err(Error::user(format!(
                "the head of a job has format {format}, this engine reads {FORMAT}"
            ))
            .with_detail(place)
            .with_hint("run the engine version that wrote it, or a newer one"));
        }
        let sealed: Sealed<'_> = serde_json::from_slice(bytes).map_err(damaged)?;
        if checksum(sealed.head.get()) != sealed.xxh3 {
            return Err(
                Error::data_loss("the head of a job was altered: its checksum is another one")
                    .with_detail(place)
                    .with_hint(HINT),
            );
        }
        serde_json::from_str(sealed.head.get()).map_err(damaged)
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What the head object holds. The checksum is of the head's own text, so that a digit that was
/// flipped is not taken for a decision that was made.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    format: u32,
    xxh3: String,
    #[serde(borrow)]
    head: &'a RawValue,
}

fn checksum(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Head {
        Head {
            epoch: 12,
            nonce: "5f".to_owned(),
            resume: Resume::Checkpoint(CheckpointId(7)),
            completed: vec![CompletedCheckpoint {
                id: CheckpointId(7),
                epoch: 12,
                timestamp: 1_700_000_000_000,
                folder: "j/chk-7".to_owned(),
                files: vec!["j/chk-7/_metadata".to_owned()],
                bytes: 99,
            }],
            committed_through: Some(CheckpointId(6)),
            attempts: vec![AttemptRecord {
                epoch: 12,
                sinks: [("sink".to_owned(), "00ff".to_owned())].into(),
            }],
            ..Head::new("j")
        }
    }

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(Head::decode(&sample().encode().unwrap(), "p").unwrap(), sample());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let body = sample().encode().unwrap();
        for length in 0..body.len() {
            assert!(Head::decode(&body[..length], "p").is_err(), "cut at {length}");
        }
        for position in 0..body.len() {
            for bit in 0..8 {
                let mut altered = body.clone();
                altered[position] ^= 1 << bit;
                let text = String::from_utf8_lossy(&altered);
                assert!(Head::decode(&altered, "p").is_err(), "bit {bit} of {text}");
            }
        }
    }
}
