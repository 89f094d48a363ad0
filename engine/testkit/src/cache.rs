//! Where `scripts/setup` put servers and data.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// `$MILLRACE_CACHE`, or `~/.cache/millrace`.
pub fn folder() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MILLRACE_CACHE").filter(|p| !p.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let home = std::env::var_os("HOME").context("neither MILLRACE_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/millrace"))
}

/// A path in the cache that a part of set-up makes; the error names the part.
pub fn installed(path: &str, part: &str) -> Result<PathBuf> {
    let full = folder()?.join(path);
    if !full.exists() {
        bail!("{} is missing: run scripts/setup {part}", full.display());
    }
    Ok(full)
}
