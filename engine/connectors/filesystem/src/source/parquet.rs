//! A Parquet file.
//!
//! Its types are those of Parquet's own schema: what a writer of Arrow's kind notes beside it is not
//! looked at, as Flink does not.

mod int96;

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::new_null_array;
use arrow::datatypes::Schema;
use millrace_core::{Error, Result};
use millrace_expr::RowType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::{FileBatch, FileReader, located};
use crate::listing::unreadable;
use crate::schema;
use crate::timestamps::Zone;
use int96::RangeCheck;

pub struct ParquetFile {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    fields: RowType,
    /// For each field its column of a batch, if the file has it.
    columns: Vec<Option<usize>>,
    /// Where INT96 timestamps are read in nanoseconds.
    range: Option<RangeCheck>,
    zone: Zone,
    position: u64,
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| unreadable(path, e))
}

fn metadata(path: &Path) -> Result<ArrowReaderMetadata> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::load(&open(path)?, options).map_err(|e| damaged(path, e))
}

fn damaged(path: &Path, e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::user("a file is not readable as Parquet")
        .with_detail(path.display().to_string())
        .with_source(e)
}

/// The place of each field in the file's schema; a clear error for what is of another type. `None`
/// for a column that the file does not have: as with Flink it is NULL, files of an older schema have it so.
fn places(path: &Path, file: &Schema, fields: &RowType) -> Result<Vec<Option<usize>>> {
    let place = |field: &millrace_expr::Field| {
        let declared = field.data_type.to_arrow();
        let Some((at, found)) = file.column_with_name(&field.name) else {
            if field.data_type.nullable {
                return Ok(None);
            }
            let names: Vec<_> = file.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(Error::user(format!(
                "a Parquet file lacks the column '{}', which is NOT NULL",
                field.name
            ))
            .with_detail(format!("{}: has {}", path.display(), names.join(", "))));
        };
        if !schema::readable(found.data_type(), &declared) {
            return Err(Error::user(format!(
                "a Parquet file has another type in column '{}'",
                field.name
            ))
            .with_detail(format!("{}: {} in the file", path.display(), found.data_type()))
            .with_hint(format!("the table declares {}", field.data_type)));
        }
        Ok(Some(at))
    };
    fields.fields.iter().map(place).collect()
}

pub fn check(path: &Path, fields: &RowType) -> Result<()> {
    places(path, metadata(path)?.schema(), fields).map(|_| ())
}

impl ParquetFile {
    pub fn open(path: &Path, position: u64, fields: &RowType, max_rows: usize, zone: Zone) -> Result<Self> {
        let found = metadata(path)?;
        let places = places(path, found.schema(), fields)?;
        for (field, _) in fields
            .fields
            .iter()
            .zip(&places)
            .filter(|(_, place)| place.is_none())
        {
            tracing::warn!(file = %path.display(), column = field.name, "a Parquet file lacks a column: it is NULL");
        }
        // A batch has the masked columns in the file's order.
        let mut roots: Vec<usize> = places.iter().copied().flatten().collect();
        roots.sort_unstable();
        roots.dedup();
        let offset = usize::try_from(position).map_err(|e| damaged(path, e))?;
        // With INT96 in the units that the table declares.
        let reader = |schema: Schema, roots: &[usize]| -> Result<ParquetRecordBatchReader> {
            let options = ArrowReaderOptions::new().with_schema(schema.into());
            let metadata = ArrowReaderMetadata::try_new(found.metadata().clone(), options)
                .map_err(|e| damaged(path, e))?;
            let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.iter().copied());
            ParquetRecordBatchReaderBuilder::new_with_metadata(open(path)?, metadata)
                .with_projection(mask)
                .with_batch_size(max_rows)
                .with_offset(offset)
                .build()
                .map_err(|e| damaged(path, e))
        };
        let declared = int96::declared(&found, &places, fields);
        let range = match int96::in_nanoseconds(&found, &declared) {
            None => None,
            Some((schema, checked)) => Some(RangeCheck::new(reader(schema, &checked)?, checked)),
        };
        let columns = places
            .iter()
            .map(|place| place.and_then(|p| roots.iter().position(|r| *r == p)))
            .collect();
        Ok(ParquetFile {
            path: path.to_owned(),
            reader: reader(declared, &roots)?,
            fields: fields.clone(),
            columns,
            range: range.map(|check: RangeCheck| check.among(&roots)),
            zone,
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
        if let Some(range) = &mut self.range {
            range
                .check(&batch)
                .map_err(|e| located(e, &self.path, self.position, "row"))?;
        }
        let columns = self
            .fields
            .fields
            .iter()
            .zip(&self.columns)
            .map(|(field, at)| match at {
                Some(at) => schema::convert(batch.column(*at), field, self.zone),
                None => Ok(new_null_array(&field.data_type.to_arrow(), batch.num_rows())),
            })
            .collect::<Result<Vec<_>>>()
            .map_err(|e| located(e, &self.path, self.position, "row"))?;
        self.position += batch.num_rows() as u64;
        Ok(Some((
            FileBatch {
                columns,
                rows: batch.num_rows(),
                kinds: None,
                skipped: 0,
            },
            self.position,
        )))
    }
}

#[cfg(test)]
mod tests;
