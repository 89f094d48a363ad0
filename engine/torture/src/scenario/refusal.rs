//! A place for checkpoints that takes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use millrace_testkit::files;

/// A file stands where the folder was. (Permissions refuse root nothing.)
pub struct Refusal {
    folder: PathBuf,
    away: PathBuf,
}

impl Refusal {
    pub fn begin(folder: &Path) -> Result<Refusal> {
        let away = folder.with_extension("away");
        fs::write(&away, "")?;
        // At once: the engine would create a folder that is missing.
        files::exchange(folder, &away)?;
        Ok(Refusal {
            folder: folder.to_owned(),
            away,
        })
    }

    pub fn end(self) -> Result<()> {
        files::exchange(&self.folder, &self.away)?;
        Ok(fs::remove_file(&self.away)?)
    }
}
