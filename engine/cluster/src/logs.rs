//! The log of this process, for whoever shows it: Flink's `/jobmanager/log` and its like. Its newest lines are in memory, or
//! in files where there is a folder for them.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use millrace_core::{Error, Result};
use millrace_runtime::operators::now_millis;

/// Of lines in memory.
const MEMORY: usize = 4 << 20;
/// Of a file, as Flink's logging has it; then another one begins.
const FILE: u64 = 100 << 20;

/// Cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    /// As the newest lines are listed.
    name: String,
    place: Mutex<Place>,
}

enum Place {
    Memory {
        bytes: VecDeque<u8>,
        most: usize,
        /// When something was written last, in milliseconds since 1970; 0: never.
        modified: i64,
    },
    Files {
        folder: PathBuf,
        file: File,
        written: u64,
        most: u64,
        /// Older ones that are kept.
        kept: usize,
    },
}

/// A file of the log, or what stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    pub name: String,
    pub bytes: u64,
    /// When it was written last, in milliseconds since 1970; 0: not known.
    pub modified: i64,
}

static CURRENT: OnceLock<Log> = OnceLock::new();

/// Says where this process's log is, once.
pub fn set_current(log: Log) {
    // A second one would be of the same process.
    let _ = CURRENT.set(log);
}

/// This process's log; none where nobody keeps one.
pub fn current() -> Option<&'static Log> {
    CURRENT.get()
}

impl Log {
    /// The newest lines, some mebibytes of them.
    pub fn in_memory(name: &str) -> Self {
        Log::in_memory_of(name, MEMORY)
    }

    fn in_memory_of(name: &str, most: usize) -> Self {
        let bytes = VecDeque::new();
        Log::at(
            name,
            Place::Memory {
                bytes,
                most,
                modified: 0,
            },
        )
    }

    /// In a folder, in a file of this name and as many older ones as are to be kept: `name.1` is the newest of those.
    pub fn in_folder(folder: &Path, name: &str, kept: usize) -> Result<Self> {
        Log::in_folder_of(folder, name, kept, FILE)
    }

    fn in_folder_of(folder: &Path, name: &str, kept: usize, most: u64) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::user("the log cannot be written")
                .with_detail(folder.join(name).display().to_string())
                .with_source(e)
                .with_hint("give env.log.dir a folder that can be written, or leave it out: the newest lines are then kept in memory")
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = open(&folder.join(name)).map_err(failed)?;
        let written = file.metadata().map_err(failed)?.len();
        Ok(Log::at(
            name,
            Place::Files {
                folder: folder.to_owned(),
                file,
                written,
                most,
                kept,
            },
        ))
    }

    fn at(name: &str, place: Place) -> Self {
        Log(Arc::new(Inner {
            name: name.to_owned(),
            place: Mutex::new(place),
        }))
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.place.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Appends lines. A disk that is full costs lines, not the process.
    pub fn write(&self, lines: &[u8]) {
        match &mut *self.place() {
            Place::Memory {
                bytes,
                most,
                modified,
            } => {
                *modified = now_millis();
                bytes.extend(lines);
                if bytes.len() > *most {
                    let surplus = bytes.len() - *most;
                    // Down to the end of a line.
                    let cut = bytes.iter().skip(surplus - 1).position(|b| *b == b'\n');
                    bytes.drain(..cut.map_or(bytes.len(), |end| surplus + end));
                }
            }
            Place::Files {
                folder,
                file,
                written,
                most,
                kept,
            } => {
                if *written > 0 && *written + lines.len() as u64 > *most {
                    roll(folder, &self.0.name, *kept);
                    if let Ok(next) = open(&folder.join(&self.0.name)) {
                        *file = next;
                        *written = 0;
                    }
                }
                if file.write_all(lines).is_ok() {
                    *written += lines.len() as u64;
                }
            }
        }
    }

    /// The newest file first.
    pub fn files(&self) -> Vec<LogFile> {
        match &*self.place() {
            Place::Memory { bytes, modified, .. } => vec![LogFile {
                name: self.0.name.clone(),
                bytes: bytes.len() as u64,
                modified: *modified,
            }],
            Place::Files { folder, kept, .. } => {
                let names = (0..=*kept).map(|number| numbered(&self.0.name, number));
                names.filter_map(|name| described(folder, name)).collect()
            }
        }
    }

    /// The newest lines.
    pub fn recent(&self) -> Vec<u8> {
        self.read(&self.0.name).unwrap_or_default()
    }

    /// One of `files`, whole.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        match &*self.place() {
            Place::Memory { bytes, .. } => (name == self.0.name).then(|| bytes.iter().copied().collect()),
            Place::Files { folder, kept, .. } => {
                // No path from outside: one of our own names.
                let mut names = (0..=*kept).map(|number| numbered(&self.0.name, number));
                let own = names.find(|own| own == name)?;
                fs::read(folder.join(own)).ok()
            }
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn numbered(name: &str, number: usize) -> String {
    match number {
        0 => name.to_owned(),
        number => format!("{name}.{number}"),
    }
}

/// Gives each file the next number; the last one goes.
fn roll(folder: &Path, name: &str, kept: usize) {
    let path = |number| folder.join(numbered(name, number));
    for number in (0..kept).rev() {
        // One that is not there is not missed.
        let _ = fs::rename(path(number), path(number + 1));
    }
    if kept == 0 {
        let _ = fs::remove_file(path(0));
    }
}

fn described(folder: &Path, name: String) -> Option<LogFile> {
    let metadata = fs::metadata(folder.join(&name)).ok()?;
    let since = metadata
        .modified()
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    Some(LogFile {
        name,
        bytes: metadata.len(),
        modified: since.as_millis() as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_kept_in_memory() {
        let log = Log::in_memory_of("a.log", 10);
        for line in ["one\n", "two\n", "three\n"] {
            log.write(line.as_bytes());
        }
        assert_eq!(log.recent(), b"two\nthree\n");
        log.write(b"a line that is longer than all\n");
        assert_eq!(log.recent(), b"");
        assert_eq!(log.read("b.log"), None);
    }

    #[test]
    fn a_file_that_is_full_becomes_the_first_of_the_older_ones() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::in_folder_of(folder.path(), "a.log", 2, 8).unwrap();
        for line in ["one....\n", "two....\n", "three..\n", "four...\n"] {
            log.write(line.as_bytes());
        }
        let names: Vec<String> = log.files().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["a.log", "a.log.1", "a.log.2"]);
        assert_eq!(log.recent(), b"four...\n");
        assert_eq!(log.read("a.log.2").unwrap(), b"two....\n");
        assert_eq!(log.read("../a.log"), None);
        // Another process goes on with it.
        let log = Log::in_folder_of(folder.path(), "a.log", 2, 8).unwrap();
        log.write(b"five...\n");
        assert_eq!(log.read("a.log.1").unwrap(), b"four...\n");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Log::in_folder(file.path(), "a.log", 1).err().unwrap().to_string();
        assert!(error.contains("env.log.dir"), "{error}");
    }
}
