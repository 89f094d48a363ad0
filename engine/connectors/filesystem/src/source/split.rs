//! A file and the place in it: what a checkpoint keeps of it.

use std::fs;
use std::path::PathBuf;

use millrace_core::{Error, Result};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::modified_millis;
use crate::listing::unreadable;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    pub path: PathBuf,
    /// Behind the last row that was given: a byte of a text, a row of Parquet.
    pub position: u64,
    pub done: bool,
    /// Bytes when the file was found.
    pub size: u64,
    pub modified_millis: i64,
}

impl Split {
    pub fn new(path: PathBuf) -> Result<Self> {
        if path.to_str().is_none() {
            return Err(Error::user("a file's path is not UTF-8").with_detail(path.display().to_string()));
        }
        let found = fs::metadata(&path).map_err(|e| unreadable(&path, e))?;
        let modified_millis = modified_millis(&found);
        Ok(Split {
            path,
            position: 0,
            done: false,
            size: found.len(),
            modified_millis,
        })
    }

    pub fn restore(state: &[u8]) -> Result<Self> {
        serde_json::from_slice(state)
            .map_err(|e| Error::user("the state of a filesystem source cannot be read").with_source(e))
    }

    pub fn state(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal("state cannot be written").with_source(e))
    }

    /// The subtask that reads the file.
    pub fn subtask(&self, parallelism: usize) -> usize {
        let hash = xxh3_64(self.path.as_os_str().as_encoded_bytes());
        (hash % parallelism.max(1) as u64) as usize
    }

    /// A file that became shorter is another one: the place in it means nothing any more.
    pub fn check_unchanged(&self) -> Result<()> {
        let found = fs::metadata(&self.path).map_err(|e| unreadable(&self.path, e))?;
        if self.position > 0 && (found.len() < self.size || modified_millis(&found) != self.modified_millis) {
            return Err(
                Error::user("a file has changed since the checkpoint that is restored").with_detail(format!(
                    "{}: {} bytes then, {} bytes now",
                    self.path.display(),
                    self.size,
                    found.len()
                )),
            );
        }
        Ok(())
    }
}
