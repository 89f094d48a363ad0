//! Reading: each file is a split, a subtask reads its files one after the other.
//!
//! Which files are a subtask's follows from a hash of their paths. A fresh start takes the files
//! that are there then; a restore takes those of the checkpoint, whatever has come since.
//!
//! Layout: `split` a file and the place in it, `text` and `parquet` batches out of one file.

#[cfg(test)]
pub mod golden;
mod parquet;
mod split;
mod text;

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use arrow::array::{ArrayRef, UInt8Array};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use millrace_connector_api::source::{
    SourceBatch, SourceChangelog, SourceContext, SourceFactory, SourcePoll, SourceReader, SourceTraits,
};
use millrace_connector_api::{ChangeBatch, Registry};
use millrace_core::{CheckpointId, Error, Result};
use millrace_dataflow::{SourceSpec, TableSpec};
use millrace_expr::{DataType, Field, RowType, TypeKind};
use millrace_formats::column::{Column, Values};

use crate::options::Settings;
use crate::{listing, partitions, schema};
use split::Split;

pub struct Source {
    formats: Registry,
}

impl Source {
    pub fn new(formats: Registry) -> Self {
        Source { formats }
    }

    fn settings(&self, table: &TableSpec) -> Result<Settings> {
        let settings = Settings::new(table, &self.formats)?;
        let fields = schema::row_type(table, &schema::in_files(table));
        if settings.is_parquet() {
            schema::check_parquet(&table.name, &fields.fields)?;
        } else {
            let format = self.formats.format(&table.name, &settings.format)?;
            format.validate(table, &settings.prefix(), &fields.fields)?;
        }
        for column in table
            .columns
            .iter()
            .filter(|c| table.partition_keys.contains(&c.name))
        {
            partitions::check(&table.name, column)?;
        }
        Ok(settings)
    }
}

fn files(settings: &Settings) -> Result<Vec<PathBuf>> {
    let mut files = listing::visible(&settings.path)?;
    if let Some(pattern) = &settings.path_pattern {
        files.retain(|f| f.to_str().is_some_and(|f| pattern.is_match(f)));
    }
    Ok(files)
}

const METADATA: &[&str] = &["file.path", "file.name", "file.size", "file.modification-time"];

impl SourceFactory for Source {
    fn metadata(&self, _: &TableSpec) -> Result<Vec<Field>> {
        let types = [
            DataType::string().with_nullable(false),
            DataType::string().with_nullable(false),
            DataType::bigint().with_nullable(false),
            DataType::not_null(TypeKind::TimestampLtz(3)),
        ];
        Ok(METADATA
            .iter()
            .zip(types)
            .map(|(name, t)| Field::new(*name, t))
            .collect())
    }

    fn validate(&self, table: &TableSpec) -> Result<SourceTraits> {
        let settings = self.settings(table)?;
        let is_changelog =
            !settings.is_parquet() && self.formats.format(&table.name, &settings.format)?.is_changelog();
        Ok(SourceTraits {
            idle_timeout: None,
            bounded: true,
            parallelism: None,
            changelog: match is_changelog {
                true => SourceChangelog::All,
                false => SourceChangelog::Inserts,
            },
        })
    }

    fn check(&self, spec: &SourceSpec) -> Result<()> {
        let settings = self.settings(&spec.table)?;
        if !settings.path.exists() {
            return Err(Error::user(format!(
                "table '{}' cannot be read: there is no such file",
                spec.table.name
            ))
            .with_detail(settings.path.display().to_string())
            .with_hint("'path' names a file or a folder on this machine"));
        }
        let files = files(&settings)?;
        for file in &files {
            std::fs::File::open(file).map_err(|e| listing::unreadable(file, e))?;
        }
        if settings.is_parquet() {
            let fields = schema::row_type(&spec.table, &schema::in_files(&spec.table));
            files.iter().try_for_each(|f| parquet::check(f, &fields))?;
        }
        Ok(())
    }

    fn open(&self, spec: &SourceSpec, context: SourceContext) -> Result<Box<dyn SourceReader>> {
        let settings = self.settings(&spec.table)?;
        let all = match &context.restored {
            None => files(&settings)?
                .into_iter()
                .map(Split::new)
                .collect::<Result<Vec<_>>>()?,
            Some(states) => states
                .iter()
                .map(|s| Split::restore(s))
                .collect::<Result<Vec<_>>>()?,
        };
        let mut splits: Vec<Split> = all
            .into_iter()
            .filter(|s| s.subtask(context.parallelism) == context.subtask)
            .collect();
        splits.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        splits.dedup_by(|a, b| a.path == b.path);
        let columns = Columns::new(spec, &settings, &self.formats);
        Ok(Box::new(Reader {
            formats: self.formats.clone(),
            spec: spec.clone(),
            settings,
            output: spec.output(),
            columns,
            splits,
            present: 0,
            file: None,
            max_rows: context.max_rows.max(1),
            skipped: 0,
        }))
    }
}

/// Which columns come from where.
struct Columns {
    /// Fields that are read from a file.
    from_file: RowType,
    /// For each output column of the table: an index into `from_file`, or a partition column.
    sources: Vec<From>,
}

enum From {
    File(usize),
    Partition(usize),
}

impl Columns {
    fn new(spec: &SourceSpec, settings: &Settings, formats: &Registry) -> Self {
        let table = &spec.table;
        let in_files = schema::in_files(table);
        let by_name = settings.is_parquet()
            || formats
                .format(&table.name, &settings.format)
                .is_ok_and(|f| f.finds_fields_by_name());
        // Fields that are found by their place are all read, others only if they are wanted.
        let read: Vec<usize> = if by_name {
            spec.projection
                .iter()
                .copied()
                .filter(|i| in_files.contains(i))
                .collect()
        } else {
            in_files
        };
        let sources = spec
            .projection
            .iter()
            .map(|i| match read.iter().position(|r| r == i) {
                Some(at) => From::File(at),
                None => From::Partition(*i),
            })
            .collect();
        Columns {
            from_file: schema::row_type(table, &read),
            sources,
        }
    }
}

/// Rows of one file.
struct FileBatch {
    columns: Vec<ArrayRef>,
    rows: usize,
    kinds: Option<UInt8Array>,
    skipped: u64,
}

/// One file being read.
trait FileReader: Send {
    /// The next rows and the place behind them; `None` at the file's end. A batch may be empty.
    fn next(&mut self, max_rows: usize) -> Result<Option<(FileBatch, u64)>>;
}

struct Reader {
    formats: Registry,
    spec: SourceSpec,
    settings: Settings,
    output: RowType,
    columns: Columns,
    splits: Vec<Split>,
    /// The split that is read.
    present: usize,
    file: Option<Box<dyn FileReader>>,
    max_rows: usize,
    skipped: u64,
}

impl Reader {
    fn open_file(&self, split: &Split) -> Result<Box<dyn FileReader>> {
        split.check_unchanged()?;
        let fields = &self.columns.from_file;
        if self.settings.is_parquet() {
            return Ok(Box::new(parquet::ParquetFile::open(
                &split.path,
                split.position,
                fields,
                self.max_rows,
                self.settings.parquet.zone,
            )?));
        }
        let table = &self.spec.table;
        let format = self.formats.format(&table.name, &self.settings.format)?;
        let prefix = self.settings.prefix();
        let decoder = format.decoder(table, &prefix, fields)?;
        let lines = millrace_formats::lines::Lines::of(&self.settings.format, table, &prefix)?;
        Ok(Box::new(text::TextFile::open(
            &split.path,
            split.position,
            lines,
            decoder,
        )?))
    }

    fn batch(&self, split: &Split, file: FileBatch) -> Result<RecordBatch> {
        let table = &self.spec.table;
        let mut arrays = Vec::with_capacity(self.output.fields.len());
        for source in &self.columns.sources {
            arrays.push(match source {
                From::File(at) => file.columns[*at].clone(),
                From::Partition(i) => {
                    let column = &table.columns[*i];
                    let value = partitions::value_of(
                        &column.name,
                        &self.settings.path,
                        &split.path,
                        &self.settings.default_partition,
                    )?;
                    let what = format!("column '{}', file {}", column.name, split.path.display());
                    partitions::constant(&column.data_type, value.as_deref(), file.rows, &what)?
                }
            });
        }
        for field in &self.spec.metadata {
            arrays.push(metadata(&field.name, field, split, file.rows)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(file.rows));
        RecordBatch::try_new_with_options(self.output.to_arrow(), arrays, &options)
            .map_err(|e| Error::internal("columns of a file do not fit their table").with_source(e))
    }
}

fn metadata(key: &str, field: &Field, split: &Split, rows: usize) -> Result<ArrayRef> {
    let mut column = Column::new(&field.data_type);
    let path = split.path.to_string_lossy();
    let name = split
        .path
        .file_name()
        .map(|n| n.to_string_lossy())
        .unwrap_or_default();
    for _ in 0..rows {
        match (&mut column.values, key) {
            (Values::Text(v), "file.path") => v.push(path.as_bytes()),
            (Values::Text(v), "file.name") => v.push(name.as_bytes()),
            (Values::BigInt(v), "file.size") => v.push(split.size as i64),
            (Values::Timestamp(v), "file.modification-time") => v.values.push(split.modified_millis),
            _ => {
                return Err(Error::internal(format!(
                    "unknown metadata '{key}' of a filesystem table"
                )));
            }
        }
    }
    column.finish()
}

/// Milliseconds since the epoch of a file's last change; 0 where the system does not say.
fn modified_millis(found: &std::fs::Metadata) -> i64 {
    let time = found
        .modified()
        .ok()
        .and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    time.map_or(0, |d| d.as_millis() as i64)
}

fn located(e: Error, path: &Path, position: u64, unit: &str) -> Error {
    let place = format!("{}, {unit} {position}", path.display());
    let detail = match e.detail() {
        Some(detail) => format!("{place}\n{detail}"),
        None => place,
    };
    e.with_detail(detail)
}

impl SourceReader for Reader {
    fn poll(&mut self) -> Result<SourcePoll> {
        loop {
            let Some(split) = self.splits.get(self.present) else {
                return Ok(SourcePoll::End);
            };
            if split.done {
                self.present += 1;
                continue;
            }
            if self.file.is_none() {
                self.file = Some(self.open_file(split)?);
            }
            let Some(file) = &mut self.file else { continue };
            match file.next(self.max_rows)? {
                None => {
                    self.file = None;
                    self.splits[self.present].done = true;
                }
                Some((rows, position)) => {
                    self.skipped += rows.skipped;
                    let count = rows.rows;
                    let kinds = rows.kinds.clone();
                    let batch = self.batch(&self.splits[self.present], rows)?;
                    self.splits[self.present].position = position;
                    if count > 0 {
                        return Ok(SourcePoll::Batch(SourceBatch {
                            batch: ChangeBatch { rows: batch, kinds },
                            splits: vec![(self.present as u32, count)],
                        }));
                    }
                }
            }
        }
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Vec<u8>>> {
        self.splits.iter().map(Split::state).collect()
    }

    fn checkpoint_complete(&mut self, _: CheckpointId) -> Result<()> {
        Ok(())
    }

    fn pending_records(&self) -> Option<u64> {
        None
    }

    fn skipped_records(&self) -> u64 {
        self.skipped
    }
}
