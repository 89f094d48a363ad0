//! What a checkpoint holds: closed files that wait for their names, and files that are still written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use millrace_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::listing::{unreadable, unwritable};

/// A file that is whole and synced, and not visible yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pending {
    pub hidden: PathBuf,
    pub target: PathBuf,
}

/// A file that is written beyond the checkpoint: its first `length` bytes belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growing {
    pub file: Pending,
    pub length: u64,
}

/// The state of one subtask's writer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct WriterState {
    version: u32,
    pub pending: Vec<Pending>,
    /// Not in version 1.
    #[serde(default)]
    pub growing: Vec<Growing>,
}

const VERSION: u32 = 2;

impl WriterState {
    pub fn new(pending: Vec<Pending>, growing: Vec<Growing>) -> Self {
        WriterState {
            version: VERSION,
            pending,
            growing,
        }
    }

    /// No bytes where there is nothing to hold.
    pub fn write(&self) -> Result<Vec<u8>> {
        if self.pending.is_empty() && self.growing.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::to_vec(self).map_err(|e| Error::internal("state cannot be written").with_source(e))
    }

    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(WriterState::default());
        }
        let state: WriterState = serde_json::from_slice(bytes)
            .map_err(|e| Error::user("the state of a filesystem sink cannot be read").with_source(e))?;
        if !(1..=VERSION).contains(&state.version) {
            return Err(Error::unsupported(format!(
                "version {} of a filesystem sink's state",
                state.version
            )));
        }
        Ok(state)
    }
}

/// Cuts a file that was still written back to what the checkpoint holds, under its hidden name.
///
/// A copy takes the place of the file: a writer of an earlier attempt may still run and append to
/// the file that it has open. Repeatable; nothing is done where the file has its name already.
pub fn seal(growing: &Growing) -> Result<()> {
    let hidden = &growing.file.hidden;
    let file = match File::open(hidden) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(unreadable(hidden, e)),
    };
    let name = hidden.file_name().unwrap_or_default().to_string_lossy();
    // A crash leaves it as one more hidden file of its attempt, which a recovery deletes.
    let copy = hidden.with_file_name(name.replacen(".part-", ".part-sealed-", 1));
    let mut out = File::create(&copy).map_err(|e| unwritable(&copy, e))?;
    let copied = io::copy(&mut file.take(growing.length), &mut out).map_err(|e| unwritable(&copy, e))?;
    if copied < growing.length {
        return Err(
            Error::data_loss("a file is shorter than the restored checkpoint says").with_detail(format!(
                "{}: {copied} bytes instead of {}",
                hidden.display(),
                growing.length
            )),
        );
    }
    out.sync_all().map_err(|e| unwritable(&copy, e))?;
    fs::rename(&copy, hidden).map_err(|e| unwritable(hidden, e))
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
