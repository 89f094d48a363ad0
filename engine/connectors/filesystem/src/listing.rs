//! Files of a folder.

use std::fs;
use std::path::{Path, PathBuf};

use millrace_core::{Error, Result};

/// Names that Flink leaves out: files being written, and markers such as `_SUCCESS`.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .and_then(|n| n.to_str())
        .is_some_and(|n| n.starts_with('.') || n.starts_with('_'))
}

/// All files below `root`, or `root` itself, in the order of their paths, hidden ones left out.
pub fn visible(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    walk(root, &|path| !is_hidden(path), &mut files)?;
    files.sort_unstable();
    Ok(files)
}

/// All hidden files below `root`, those in hidden folders left out.
pub fn hidden(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if root.is_dir() {
        walk(root, &|path| !path.is_dir() || !is_hidden(path), &mut files)?;
    }
    files.retain(|f| is_hidden(f));
    Ok(files)
}

fn walk(root: &Path, take: &dyn Fn(&Path) -> bool, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut folders = vec![];
    if fs::metadata(root).map_err(|e| unreadable(root, e))?.is_dir() {
        folders.push(root.to_owned());
    } else {
        files.push(root.to_owned());
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| unreadable(&folder, e))? {
            let path = entry.map_err(|e| unreadable(&folder, e))?.path();
            if !take(&path) {
                continue;
            }
            // A file may be renamed or deleted while the folder is read: then it is not there.
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => folders.push(path),
                Ok(_) => files.push(path),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(unreadable(&path, e)),
            }
        }
    }
    Ok(())
}

pub fn unreadable(path: &Path, e: std::io::Error) -> Error {
    Error::external("a file or a folder cannot be read")
        .with_detail(path.display().to_string())
        .with_source(e)
}

pub fn unwritable(path: &Path, e: std::io::Error) -> Error {
    Error::external("a file cannot be written")
        .with_detail(path.display().to_string())
        .with_source(e)
}
