//! A file of text records.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use millrace_connector_api::format::{Decoder, Payloads};
use millrace_core::{Error, Result};
use millrace_formats::lines::Lines;

use super::{FileBatch, FileReader, located};
use crate::listing::unreadable;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
/// Bytes of one record at most: memory stays bounded whatever the file holds.
const MAX_RECORD: usize = 64 << 20;

pub struct TextFile {
    path: PathBuf,
    file: File,
    lines: Lines,
    decoder: Box<dyn Decoder>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are used up.
    used: usize,
    /// The place in the file of `buffer`'s first byte.
    begins: u64,
    at_end: bool,
    payloads: Payloads,
    /// Where the payloads' records begin in the file.
    places: Vec<u64>,
}

impl TextFile {
    pub fn open(path: &Path, position: u64, lines: Lines, decoder: Box<dyn Decoder>) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| unreadable(path, e))?;
        file.seek(SeekFrom::Start(position))
            .map_err(|e| unreadable(path, e))?;
        Ok(TextFile {
            path: path.to_owned(),
            file,
            lines,
            decoder,
            buffer: Vec::new(),
            used: 0,
            begins: position,
            at_end: false,
            payloads: Payloads::new(),
            places: Vec::new(),
        })
    }

    /// Reads a chunk more behind what is left.
    fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.used);
        self.begins += self.used as u64;
        self.used = 0;
        if self.buffer.len() > MAX_RECORD {
            let e = Error::user(format!("a record is longer than {} MiB", MAX_RECORD >> 20))
                .with_hint("a quote that is never closed makes the rest of a CSV file one record");
            return Err(located(e, &self.path, self.begins, "byte"));
        }
        let before = self.buffer.len();
        let read = (&mut self.file)
            .take(CHUNK as u64)
            .read_to_end(&mut self.buffer)
            .map_err(|e| unreadable(&self.path, e))?;
        self.at_end = read < CHUNK || self.buffer.len() == before;
        Ok(())
    }
}

impl FileReader for TextFile {
    fn next(&mut self, max_rows: usize) -> Result<Option<(FileBatch, u64)>> {
        self.payloads.clear();
        self.places.clear();
        while self.payloads.len() < max_rows && self.payloads.data.len() < CHUNK {
            match self.lines.next(&self.buffer[self.used..], self.at_end) {
                Some((record, next)) => {
                    self.payloads.push(Some(record));
                    self.places.push(self.begins + self.used as u64);
                    self.used += next;
                }
                None if self.at_end => break,
                // What there is goes out before more is read.
                None if !self.payloads.is_empty() => break,
                None => self.fill()?,
            }
        }
        if self.payloads.is_empty() {
            return Ok(None);
        }
        let decoded = self.decoder.decode(&self.payloads).map_err(|e| {
            let place = self.places.get(e.payload).copied().unwrap_or(self.begins);
            located(e.error, &self.path, place, "byte")
        })?;
        let batch = FileBatch {
            columns: decoded.columns,
            rows: decoded.rows,
            kinds: decoded.kinds,
            skipped: decoded.skipped,
        };
        Ok(Some((batch, self.begins + self.used as u64)))
    }
}
