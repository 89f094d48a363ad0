//! How far a running job is: rows its sources gave and checkpoints it completed, from Millrace's log or
//! Apache Flink's REST.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::flink::Checkpoint;

/// One line of Millrace's log: a checkpoint, and the rows that sources had given by its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Completed {
    pub checkpoint: Checkpoint,
    pub source_rows: u64,
}

/// Follows a log that grows.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    read: u64,
    rest: String,
}

impl Log {
    pub fn new(path: &Path) -> Log {
        Log {
            path: path.to_owned(),
            read: 0,
            rest: String::new(),
        }
    }

    /// The checkpoints that were written down since the last look.
    pub fn look(&mut self) -> Result<Vec<Completed>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        self.read += file.read_to_end(&mut bytes)? as u64;
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        let end = self.rest.rfind('\n').map_or(0, |at| at + 1);
        let lines: String = self.rest.drain(..end).collect();
        Ok(lines.lines().filter_map(completed).collect())
    }
}

fn completed(line: &str) -> Option<Completed> {
    let (_, fields) = line.split_once("checkpoint completed")?;
    let field = |name: &str| -> Option<u64> {
        let value = fields
            .split_whitespace()
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
        value.parse().ok()
    };
    Some(Completed {
        checkpoint: Checkpoint {
            number: field("checkpoint")?,
            seconds: field("milliseconds")? as f64 / 1000.0,
            bytes: field("bytes")?,
            written: field("written")?,
        },
        source_rows: field("records_in")?,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use millrace_testkit::scratch::Scratch;

    use super::*;

    #[test]
    fn lines_are_read_once_and_whole() {
        let scratch = Scratch::new("progress").unwrap();
        let path = scratch.join("log");
        fs::write(&path, "2026-01-01T00:00:00Z INFO starting job=j\n").unwrap();
        let mut log = Log::new(&path);
        assert!(log.look().unwrap().is_empty());
        let mut file = File::options().append(true).open(&path).unwrap();
        write!(
            file,
            "DEBUG checkpoint completed checkpoint=3 milliseconds=12 bytes=100 wri"
        )
        .unwrap();
        assert!(log.look().unwrap().is_empty());
        writeln!(file, "tten=40 records_in=77").unwrap();
        assert_eq!(
            log.look().unwrap(),
            [Completed {
                checkpoint: Checkpoint {
                    number: 3,
                    seconds: 0.012,
                    bytes: 100,
                    written: 40
                },
                source_rows: 77
            }]
        );
        assert!(log.look().unwrap().is_empty());
    }
}
