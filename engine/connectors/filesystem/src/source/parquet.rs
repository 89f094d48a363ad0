//! A Parquet file.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;
use millrace_core::{Error, Result};
use millrace_expr::RowType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{FileBatch, FileReader, located};
use crate::listing::unreadable;
use crate::schema;

pub struct ParquetFile {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    fields: RowType,
    /// For each field its column of a batch.
    columns: Vec<usize>,
    position: u64,
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|e| unreadable(path, e))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| damaged(path, e))
}

fn damaged(path: &Path, e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::user("a file is not readable as Parquet")
        .with_detail(path.display().to_string())
        .with_source(e)
}

/// The place of each field in the file's schema; clear errors for what is missing or of another type.
fn places(path: &Path, file: &Schema, fields: &RowType) -> Result<Vec<usize>> {
    let place = |field: &millrace_expr::Field| {
        let declared = field.data_type.to_arrow();
        let Some((at, found)) = file.column_with_name(&field.name) else {
            let names: Vec<_> = file.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(
                Error::user(format!("a Parquet file lacks the column '{}'", field.name))
                    .with_detail(format!("{}: has {}", path.display(), names.join(", "))),
            );
        };
        if !schema::readable(found.data_type(), &declared) {
            return Err(Error::user(format!(
                "a Parquet file has another type in column '{}'",
                field.name
            ))
            .with_detail(format!("{}: {} in the file", path.display(), found.data_type()))
            .with_hint(format!("the table declares {}", field.data_type)));
        }
        Ok(at)
    };
    fields.fields.iter().map(place).collect()
}

pub fn check(path: &Path, fields: &RowType) -> Result<()> {
    places(path, builder(path)?.schema(), fields).map(|_| ())
}

impl ParquetFile {
    pub fn open(path: &Path, position: u64, fields: &RowType, max_rows: usize) -> Result<Self> {
        let builder = builder(path)?;
        let roots = places(path, builder.schema(), fields)?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
        // A batch has the masked columns in the file's order.
        let mut sorted = roots.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let columns = roots
            .iter()
            .filter_map(|r| sorted.iter().position(|s| s == r))
            .collect();
        let offset = usize::try_from(position).map_err(|e| damaged(path, e))?;
        let reader = builder
            .with_projection(mask)
            .with_batch_size(max_rows)
            .with_offset(offset)
            .build()
            .map_err(|e| damaged(path, e))?;
        Ok(ParquetFile {
            path: path.to_owned(),
            reader,
            fields: fields.clone(),
            columns,
            position,
        })
    }
}

impl FileReader for ParquetFile {
    fn next(&mut self, _: usize) -> Result<Option<(FileBatch, u64)>> {
        let Some(batch) = self.reader.next() else {
            return Ok(None);
        };
        let batch = batch.map_err(|e| damaged(&self.path, e))?;
        let columns = self
            .fields
            .fields
            .iter()
            .zip(&self.columns)
            .map(|(field, &at)| schema::convert(batch.column(at), field))
            .collect::<Result<Vec<_>>>()
            .map_err(|e| located(e, &self.path, self.position, "row"))?;
        self.position += batch.num_rows() as u64;
        Ok(Some((
            FileBatch {
                columns,
                rows: batch.num_rows(),
                skipped: 0,
            },
            self.position,
        )))
    }
}
