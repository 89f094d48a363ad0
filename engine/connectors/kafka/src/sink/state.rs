//! What the sink writes into checkpoints and attempt records, as JSON with a version.

use millrace_core::{CheckpointId, Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::writer::Handle;

const VERSION: u32 = 1;

/// A handle with the checkpoint whose barrier closed its transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    pub checkpoint: CheckpointId,
    pub handle: Handle,
}

/// A writer's part of a checkpoint: all that is flushed and not known to be committed, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterState {
    version: u32,
    pub prepared: Vec<Prepared>,
}

/// The transactional ids that an attempt may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    version: u32,
    pub prefix: String,
    pub attempt: u64,
    pub parallelism: usize,
    /// Ids a subtask.
    pub ids: u32,
}

impl WriterState {
    pub fn new(prepared: Vec<Prepared>) -> Self {
        WriterState {
            version: VERSION,
            prepared,
        }
    }

    /// Writers without transactions have an empty state.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::new(Vec::new()));
        }
        let state: Self = decode(bytes, "the Kafka sink's part of the checkpoint")?;
        check_version(state.version, "the Kafka sink's part of the checkpoint")?;
        Ok(state)
    }

    pub fn encode(&self) -> Result<Vec<u8>> {
        encode(self)
    }
}

impl AttemptRecord {
    pub fn new(prefix: &str, attempt: u64, parallelism: usize, ids: u32) -> Self {
        AttemptRecord {
            version: VERSION,
            prefix: prefix.to_owned(),
            attempt,
            parallelism,
            ids,
        }
    }

    /// `None` of an attempt without transactions.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let record: Self = decode(bytes, "the Kafka sink's record of an earlier attempt")?;
        check_version(record.version, "the Kafka sink's record of an earlier attempt")?;
        Ok(Some(record))
    }

    pub fn encode(&self) -> Result<Vec<u8>> {
        encode(self)
    }

    pub fn transactional_ids(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.parallelism).flat_map(move |subtask| {
            (0..self.ids).map(move |n| transactional_id(&self.prefix, self.attempt, subtask, n))
        })
    }
}

/// `<prefix>-<attempt>-<subtask>-<n>`. Attempts are never repeated, so neither are ids.
pub fn transactional_id(prefix: &str, attempt: u64, subtask: usize, n: u32) -> String {
    format!("{prefix}-{attempt}-{subtask}-{n}")
}

/// The attempt that an id belongs to, if the id is of this form exactly.
pub fn attempt_of(prefix: &str, id: &str) -> Option<u64> {
    let parts: Vec<&str> = id.strip_prefix(prefix)?.strip_prefix('-')?.split('-').collect();
    let [attempt, subtask, n] = parts[..] else {
        return None;
    };
    let (attempt, subtask, n): (u64, usize, u32) =
        (attempt.parse().ok()?, subtask.parse().ok()?, n.parse().ok()?);
    // Not "+1", not "01": only what this sink writes.
    (transactional_id(prefix, attempt, subtask, n) == id).then_some(attempt)
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|e| Error::internal("the Kafka sink's state does not encode").with_source(e))
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::data_loss(format!("{what} cannot be read"))
            .with_source(e)
            .with_hint("it was altered, or is not this sink's: restore another checkpoint or savepoint")
    })
}

fn check_version(version: u32, what: &str) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(Error::user(format!(
        "{what} is of version {version}, this release reads version {VERSION}"
    ))
    .with_hint("restore it with the release that wrote it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Protocol;

    #[test]
    fn states_and_records_come_back() {
        let handle = Handle {
            transactional_id: "p-3-0-1".to_owned(),
            producer_id: 7,
            epoch: 2,
            start_time: 1_700_000_000_000,
            protocol: Protocol::V1,
        };
        let state = WriterState::new(vec![Prepared {
            checkpoint: CheckpointId(5),
            handle,
        }]);
        assert_eq!(WriterState::decode(&state.encode().unwrap()).unwrap(), state);
        let record = AttemptRecord::new("p", 3, 2, 2);
        assert_eq!(
            AttemptRecord::decode(&record.encode().unwrap()).unwrap(),
            Some(record.clone())
        );
        let ids: Vec<String> = record.transactional_ids().collect();
        assert_eq!(ids, ["p-3-0-0", "p-3-0-1", "p-3-1-0", "p-3-1-1"]);
        assert_eq!(AttemptRecord::decode(&[]).unwrap(), None);
    }

    #[test]
    fn the_form_of_stored_states_is_kept() {
        let stored = br#"{"version":1,"prepared":[{"checkpoint":5,"handle":{"transactional_id":"p-1-0-0",
            "producer_id":9,"epoch":0,"start_time":12,"protocol":"TV1"}}]}"#;
        let state = WriterState::decode(stored).unwrap();
        assert_eq!(state.prepared[0].checkpoint, CheckpointId(5));
        assert_eq!(state.prepared[0].handle.producer_id, 9);
    }

    #[test]
    fn garbage_and_other_versions_are_refused() {
        assert!(WriterState::decode(b"{").is_err());
        let e = WriterState::decode(br#"{"version":2,"prepared":[]}"#).unwrap_err();
        assert!(e.to_string().contains("version 2"), "{e}");
    }

    #[test]
    fn only_our_own_ids_are_ours() {
        assert_eq!(attempt_of("p", "p-12-0-3"), Some(12));
        assert_eq!(attempt_of("p-1", "p-1-0-3-4"), Some(0));
        for other in [
            "p-1-2",
            "p-1-2-3-4",
            "p-x-0-1",
            "p-01-0-1",
            "q-1-0-1",
            "p-+1-0-1",
            "pp-1-0-1",
        ] {
            assert_eq!(attempt_of("p", other), None, "{other}");
        }
    }
}
