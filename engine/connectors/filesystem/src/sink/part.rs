//! One file being written.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::{Encoder, Payloads};
use millrace_core::{Error, Result};

use super::parquet::ParquetFile;
use super::pending::{Growing, Pending};
use crate::listing::unwritable;
use crate::options::Parquet;

/// Bytes of a Parquet row group at most, about.
const ROW_GROUP_BYTES: usize = 32 << 20;
const SUFFIX: &str = ".inprogress";

/// The names of a sink's parts.
#[derive(Debug)]
pub struct Names {
    pub uuid: String,
    pub subtask: usize,
    pub run: String,
    pub attempt: u64,
    pub next: u64,
}

impl Names {
    fn pending(&mut self, folder: &Path) -> Pending {
        let target = format!("part-{}-{}-{}", self.uuid, self.subtask, self.next);
        self.next += 1;
        let hidden = format!(".{target}.{}-{}{SUFFIX}", self.run, self.attempt);
        Pending {
            hidden: folder.join(hidden),
            target: folder.join(target),
        }
    }
}

/// The attempt that a hidden file of this run is of.
pub fn attempt_of(name: &str, run: &str) -> Option<u64> {
    let name = name.strip_prefix(".part-")?.strip_suffix(SUFFIX)?;
    let (_, tag) = name.rsplit_once('.')?;
    tag.strip_prefix(run)?.strip_prefix('-')?.parse().ok()
}

pub struct Part {
    file: Pending,
    content: Content,
    pub opened: Instant,
    pub last_rows: Instant,
    /// Whether a checkpoint has made its hidden name durable.
    pub named: bool,
}

enum Content {
    Text {
        out: BufWriter<File>,
        bytes: u64,
        /// Of these, known to be on the disk.
        synced: u64,
    },
    Parquet(Box<ParquetFile>),
}

/// What kind of file it is.
pub enum Kind<'a> {
    Text,
    Parquet {
        schema: &'a arrow::datatypes::SchemaRef,
        settings: Parquet,
    },
}

impl Part {
    pub fn open(folder: &Path, names: &mut Names, kind: Kind<'_>, now: Instant) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| unwritable(folder, e))?;
        let file = names.pending(folder);
        let out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&file.hidden)
            .map_err(|e| unwritable(&file.hidden, e))?;
        let out = BufWriter::with_capacity(64 << 10, out);
        let content = match kind {
            Kind::Text => Content::Text {
                out,
                bytes: 0,
                synced: 0,
            },
            Kind::Parquet { schema, settings } => {
                Content::Parquet(Box::new(ParquetFile::new(out, schema, settings)?))
            }
        };
        Ok(Part {
            file,
            content,
            opened: now,
            last_rows: now,
            named: false,
        })
    }

    /// Writes rows: of a text with a line feed behind each record.
    pub fn write(
        &mut self,
        change: ChangeBatch,
        encoder: Option<&mut (dyn Encoder + 'static)>,
        payloads: &mut Payloads,
        now: Instant,
    ) -> Result<()> {
        self.last_rows = now;
        let hidden = &self.file.hidden;
        match (&mut self.content, encoder) {
            (Content::Text { out, bytes, .. }, Some(encoder)) => {
                payloads.clear();
                encoder.encode(&change, payloads)?;
                for i in 0..payloads.len() {
                    let record = &payloads.data[payloads.range(i)];
                    out.write_all(record)
                        .and_then(|()| out.write_all(b"\n"))
                        .map_err(|e| unwritable(hidden, e))?;
                    *bytes += record.len() as u64 + 1;
                }
            }
            (Content::Parquet(file), None) => {
                let located = |e: Error| locate(e, hidden);
                file.write(change.rows).map_err(located)?;
                if file.memory() > ROW_GROUP_BYTES {
                    file.flush().map_err(located)?;
                }
            }
            _ => return Err(Error::internal("a part file and its encoder do not fit")),
        }
        Ok(())
    }

    /// Bytes of the file if it were closed now, about.
    pub fn bytes(&self) -> u64 {
        match &self.content {
            Content::Text { bytes, .. } => *bytes,
            Content::Parquet(file) => file.bytes() as u64,
        }
    }

    /// Bytes of rows in memory.
    pub fn memory(&self) -> usize {
        match &self.content {
            Content::Text { .. } => 0,
            Content::Parquet(file) => file.memory(),
        }
    }

    /// Writes rows that are in memory to the file.
    pub fn relieve(&mut self) -> Result<()> {
        match &mut self.content {
            Content::Text { .. } => Ok(()),
            Content::Parquet(file) => file.flush().map_err(|e| locate(e, &self.file.hidden)),
        }
    }

    /// Makes durable what was written so far: the file goes on behind it. `None` for a file that has
    /// an end, and so must be closed for a checkpoint.
    pub fn hold(&mut self) -> Result<Option<Growing>> {
        let Content::Text { out, bytes, synced } = &mut self.content else {
            return Ok(None);
        };
        if *synced < *bytes {
            out.flush()
                .and_then(|()| out.get_ref().sync_data())
                .map_err(|e| unwritable(&self.file.hidden, e))?;
            *synced = *bytes;
        }
        Ok(Some(Growing {
            file: self.file.clone(),
            length: *bytes,
        }))
    }

    /// Closes the file and makes it durable under its hidden name.
    pub fn finish(self) -> Result<Pending> {
        let hidden = &self.file.hidden;
        let out = match self.content {
            Content::Text { out, .. } => out,
            Content::Parquet(file) => file.finish().map_err(|e| locate(e, hidden))?,
        };
        let file = out.into_inner().map_err(|e| unwritable(hidden, e.into_error()))?;
        file.sync_all().map_err(|e| unwritable(hidden, e))?;
        Ok(self.file)
    }
}

fn locate(e: Error, path: &Path) -> Error {
    match e.detail() {
        Some(_) => e,
        None => e.with_detail(path.display().to_string()),
    }
}

/// The folder below `root` of a partition's path.
pub fn folder(root: &Path, partition: &str) -> PathBuf {
    if partition.is_empty() {
        root.to_owned()
    } else {
        root.join(partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_name_tells_run_and_attempt() {
        let mut names = Names {
            uuid: "u-1".to_owned(),
            subtask: 2,
            run: "abc".to_owned(),
            attempt: 7,
            next: 0,
        };
        let file = names.pending(Path::new("/t"));
        assert_eq!(file.target, Path::new("/t/part-u-1-2-0"));
        let name = file.hidden.file_name().unwrap().to_str().unwrap();
        assert_eq!(attempt_of(name, "abc"), Some(7));
        assert_eq!(attempt_of(name, "ab"), None);
        assert_eq!(attempt_of("part-u-1-2-0", "abc"), None);
        assert_eq!(
            names.pending(Path::new("/t")).target,
            Path::new("/t/part-u-1-2-1")
        );
    }
}
