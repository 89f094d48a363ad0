//! INT96 timestamps: years that nanoseconds in 64 bits do not have.
//!
//! Arrow reads them in the unit that it is told. In nanoseconds what is out of range wraps round
//! silently, so such columns are read in microseconds as well, and compared.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType as ArrowType, Field, Fields, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use millrace_core::{Error, Result};
use millrace_expr::RowType;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader};
use parquet::basic::Type as PhysicalType;

use crate::timestamps::{out_of_range, values};

/// The file's schema with INT96 in the units that `fields`, at root columns `places`, declare; in
/// others microseconds.
pub fn declared(file: &ArrowReaderMetadata, places: &[Option<usize>], fields: &RowType) -> Schema {
    let declared: Vec<ArrowType> = fields.fields.iter().map(|f| f.data_type.to_arrow()).collect();
    with_units(file, &|root, path_unit| {
        let at = places.iter().position(|p| *p == Some(root));
        at.and_then(|at| path_unit(&declared[at]))
            .unwrap_or(TimeUnit::Microsecond)
    })
}

/// Of a schema with declared units: the same with microseconds throughout, and the root columns in
/// which that makes a difference. `None` where there are none.
pub fn in_nanoseconds(file: &ArrowReaderMetadata, declared: &Schema) -> Option<(Schema, Vec<usize>)> {
    let micros = with_units(file, &|_, _| TimeUnit::Microsecond);
    let roots: Vec<usize> = (0..micros.fields().len())
        .filter(|&i| {
            let kept = declared.field(i).data_type() != micros.field(i).data_type();
            kept && has_nanoseconds(declared.field(i).data_type())
        })
        .collect();
    (!roots.is_empty()).then_some((micros, roots))
}

fn has_nanoseconds(data_type: &ArrowType) -> bool {
    match data_type {
        ArrowType::Timestamp(unit, _) => *unit == TimeUnit::Nanosecond,
        ArrowType::List(item) => has_nanoseconds(item.data_type()),
        ArrowType::Map(entries, _) => has_nanoseconds(entries.data_type()),
        ArrowType::Struct(fields) => fields.iter().any(|f| has_nanoseconds(f.data_type())),
        _ => false,
    }
}

/// Finds the unit at a place of a declared type; `None` where that has another shape.
type Find<'a> = dyn Fn(&ArrowType) -> Option<TimeUnit> + 'a;

/// The file's schema with the unit of each INT96 column chosen by its root column.
fn with_units(file: &ArrowReaderMetadata, choose: &dyn Fn(usize, &Find<'_>) -> TimeUnit) -> Schema {
    let mut leaf = 0;
    let fields: Vec<Field> = file
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(root, field)| {
            let mut walk = Walk {
                file,
                leaf: &mut leaf,
                path: Vec::new(),
                choose: &|find| choose(root, find),
            };
            let data_type = walk.data_type(field.data_type());
            field.as_ref().clone().with_data_type(data_type)
        })
        .collect();
    Schema::new_with_metadata(fields, file.schema().metadata().clone())
}

struct Walk<'a> {
    file: &'a ArrowReaderMetadata,
    /// Primitive columns so far: Arrow has them in Parquet's order.
    leaf: &'a mut usize,
    /// Indexes of the fields within one another.
    path: Vec<usize>,
    choose: &'a dyn Fn(&Find<'_>) -> TimeUnit,
}

impl Walk<'_> {
    fn data_type(&mut self, data_type: &ArrowType) -> ArrowType {
        match data_type {
            ArrowType::Struct(fields) => ArrowType::Struct(self.fields(fields)),
            ArrowType::List(item) => ArrowType::List(self.field(0, item)),
            ArrowType::Map(entries, sorted) => ArrowType::Map(self.field(0, entries), *sorted),
            other => {
                let column = self.file.parquet_schema().column(*self.leaf);
                *self.leaf += 1;
                match other {
                    ArrowType::Timestamp(_, label) if column.physical_type() == PhysicalType::INT96 => {
                        let unit = (self.choose)(&|declared| unit_at(declared, &self.path));
                        ArrowType::Timestamp(unit, label.clone())
                    }
                    _ => other.clone(),
                }
            }
        }
    }

    fn field(&mut self, index: usize, field: &Arc<Field>) -> Arc<Field> {
        self.path.push(index);
        let data_type = self.data_type(field.data_type());
        self.path.pop();
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    }

    fn fields(&mut self, fields: &Fields) -> Fields {
        fields.iter().enumerate().map(|(i, f)| self.field(i, f)).collect()
    }
}

fn unit_at(data_type: &ArrowType, path: &[usize]) -> Option<TimeUnit> {
    match (data_type, path.split_first()) {
        (ArrowType::Timestamp(unit, _), None) => Some(*unit),
        (ArrowType::Struct(fields), Some((i, rest))) => unit_at(fields.get(*i)?.data_type(), rest),
        (ArrowType::List(inner) | ArrowType::Map(inner, _), Some((_, rest))) => {
            unit_at(inner.data_type(), rest)
        }
        _ => None,
    }
}

/// Reads columns once more in microseconds, batch by batch.
pub struct RangeCheck {
    micros: ParquetRecordBatchReader,
    /// Root columns of the file.
    roots: Vec<usize>,
    /// Their places in a batch.
    columns: Vec<usize>,
}

impl RangeCheck {
    pub fn new(micros: ParquetRecordBatchReader, roots: Vec<usize>) -> Self {
        RangeCheck {
            micros,
            roots,
            columns: Vec::new(),
        }
    }

    /// For batches of these root columns.
    pub fn among(mut self, roots: &[usize]) -> Self {
        self.columns = self
            .roots
            .iter()
            .filter_map(|r| roots.iter().position(|s| s == r))
            .collect();
        self
    }

    /// An error where a value of the next batch is out of range.
    pub fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        let again = || Error::external("a Parquet file changed while it was read");
        let micros = match self.micros.next() {
            Some(Ok(micros)) if micros.num_rows() == batch.num_rows() => micros,
            Some(Err(e)) => return Err(again().with_source(e)),
            _ => return Err(again()),
        };
        for (column, &at) in micros.columns().iter().zip(&self.columns) {
            compare(batch.column(at), column)?;
        }
        Ok(())
    }
}

fn compare(read: &ArrayRef, micros: &ArrayRef) -> Result<()> {
    match (read.data_type(), micros.data_type()) {
        (ArrowType::Timestamp(TimeUnit::Nanosecond, _), ArrowType::Timestamp(TimeUnit::Microsecond, _)) => {
            let nanos = values(read.as_ref(), TimeUnit::Nanosecond);
            let micros = values(micros.as_ref(), TimeUnit::Microsecond);
            // A file may count the nanoseconds of a day below zero, and then rounds the other way.
            let wrapped = |row: usize| {
                read.is_valid(row) && (nanos[row].div_euclid(1000) - micros[row]).unsigned_abs() > 1
            };
            match (0..read.len()).any(wrapped) {
                true => Err(out_of_range(TimeUnit::Nanosecond)),
                false => Ok(()),
            }
        }
        (ArrowType::Struct(_), ArrowType::Struct(_)) => {
            let (read, micros) = (read.as_struct(), micros.as_struct());
            let mut pairs = read.columns().iter().zip(micros.columns());
            pairs.try_for_each(|(r, m)| compare(r, m))
        }
        (ArrowType::List(_), ArrowType::List(_)) => {
            compare(read.as_list::<i32>().values(), micros.as_list::<i32>().values())
        }
        (ArrowType::Map(..), ArrowType::Map(..)) => {
            let (read, micros) = (read.as_map(), micros.as_map());
            compare(read.keys(), micros.keys())?;
            compare(read.values(), micros.values())
        }
        _ => Ok(()),
    }
}
