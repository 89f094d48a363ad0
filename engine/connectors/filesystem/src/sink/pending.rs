//! Closed files that wait for their checkpoint, and their renaming.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use millrace_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::listing::unwritable;

/// A file that is whole and synced, and not visible yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pending {
    pub hidden: PathBuf,
    pub target: PathBuf,
}

/// The state of one subtask's writer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct WriterState {
    pub version: u32,
    pub pending: Vec<Pending>,
}

pub const VERSION: u32 = 1;

impl WriterState {
    pub fn write(pending: Vec<Pending>) -> Result<Vec<u8>> {
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::to_vec(&WriterState {
            version: VERSION,
            pending,
        })
        .map_err(|e| Error::internal("state cannot be written").with_source(e))
    }

    pub fn read(bytes: &[u8]) -> Result<Vec<Pending>> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let state: WriterState = serde_json::from_slice(bytes)
            .map_err(|e| Error::user("the state of a filesystem sink cannot be read").with_source(e))?;
        if state.version != VERSION {
            return Err(Error::unsupported(format!(
                "version {} of a filesystem sink's state",
                state.version
            )));
        }
        Ok(state.pending)
    }
}

/// What became of a file that was to be shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    Now,
    Before,
    /// Neither under its hidden nor under its own name.
    Missing,
}

/// Gives a file its name. The folder is synced by `sync_folder` afterwards.
pub fn show(file: &Pending) -> Result<Shown> {
    match fs::rename(&file.hidden, &file.target) {
        Ok(()) => Ok(Shown::Now),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(if file.target.exists() {
            Shown::Before
        } else {
            Shown::Missing
        }),
        Err(e) => Err(unwritable(&file.target, e)),
    }
}

/// Makes new and changed names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(|e| unwritable(folder, e))
}
