//! A Parquet file being written: rows in memory, a row group being encoded, then the file.
//!
//! An encoder takes some 64 KiB for each column before its first row. So that many small partitions
//! cost no more than their rows, rows wait as they are until there are enough of them.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use millrace_core::{Error, Result};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression as Codec, LogicalType, Type as PhysicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type, TypePtr};

use super::int96::{self, Int96Column};
use crate::options::{Compression, Parquet, Timestamps};
use crate::timestamps;

/// Bytes of rows from which on they are encoded.
const ENCODED_FROM: usize = 1 << 20;

pub struct ParquetFile {
    file: SerializedFileWriter<BufWriter<File>>,
    /// The rows as they are given to Arrow's writers.
    schema: SchemaRef,
    settings: Parquet,
    writers: ArrowRowGroupWriterFactory,
    /// Rows that are not encoded yet, and their bytes.
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// The row group's primitive columns; none before its first encoded row.
    columns: Vec<Column>,
}

enum Column {
    Arrow(Box<ArrowColumnWriter>),
    Int96(Int96Column),
}

fn failed(e: ParquetError) -> Error {
    Error::external("a Parquet file cannot be written").with_source(e)
}

impl ParquetFile {
    /// `rows` is the schema of the batches that will be written.
    pub fn new(out: BufWriter<File>, rows: &SchemaRef, settings: Parquet) -> Result<Self> {
        let schema = match settings.timestamps {
            Timestamps::Int96 => rows.clone(),
            Timestamps::Int64(unit) => Arc::new(Schema::new(in_unit(rows.fields(), unit))),
        };
        let refused = |e| Error::user("a Parquet file cannot be written for this table").with_source(e);
        let descriptor = ArrowSchemaConverter::new()
            .with_coerce_types(true)
            .convert(&schema)
            .map_err(refused)?;
        let root = match settings.timestamps {
            Timestamps::Int96 => to_int96(descriptor.root_schema_ptr()).map_err(refused)?,
            Timestamps::Int64(_) => descriptor.root_schema_ptr(),
        };
        let properties = Arc::new(properties(
            &SchemaDescriptor::new(root.clone()),
            settings.compression,
        ));
        let file = SerializedFileWriter::new(out, root, properties).map_err(failed)?;
        Ok(ParquetFile {
            writers: ArrowRowGroupWriterFactory::new(&file, schema.clone()),
            file,
            schema,
            settings,
            waiting: Vec::new(),
            waiting_bytes: 0,
            columns: Vec::new(),
        })
    }

    pub fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.waiting_bytes += rows.get_array_memory_size();
        self.waiting.push(rows);
        if self.columns.is_empty() && self.waiting_bytes < ENCODED_FROM {
            return Ok(());
        }
        self.encode_waiting()
    }

    fn encode_waiting(&mut self) -> Result<()> {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        waiting.iter().try_for_each(|rows| self.encode(rows))
    }

    fn encode(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.columns.is_empty() {
            self.columns = self.new_row_group()?;
        }
        let zone = self.settings.zone;
        let mut columns = self.columns.iter_mut();
        for (field, array) in self.schema.fields().iter().zip(rows.columns()) {
            let array = match self.settings.timestamps {
                Timestamps::Int64(_) if timestamps::are_in(field.data_type()) => {
                    &timestamps::convert(array, field.data_type(), &|s| zone.instant(s))?
                }
                _ => array,
            };
            for leaf in compute_leaves(field, array).map_err(failed)? {
                match columns.next() {
                    Some(Column::Arrow(writer)) => writer.write(&leaf).map_err(failed)?,
                    Some(Column::Int96(column)) => column.write(field, array.as_ref())?,
                    None => return Err(Error::internal("a Parquet file has too few columns")),
                }
            }
        }
        Ok(())
    }

    fn new_row_group(&self) -> Result<Vec<Column>> {
        let writers = self
            .writers
            .create_column_writers(self.file.flushed_row_groups().len())
            .map_err(failed)?;
        let int96 = self.settings.timestamps == Timestamps::Int96;
        let timestamps = self
            .schema
            .fields()
            .iter()
            .flat_map(|field| int96::columns(field, self.settings.zone));
        Ok(writers
            .into_iter()
            .zip(timestamps)
            .map(|(writer, timestamp)| match timestamp {
                Some(column) if int96 => Column::Int96(column),
                _ => Column::Arrow(Box::new(writer)),
            })
            .collect())
    }

    /// Bytes of rows and their row group in memory.
    pub fn memory(&self) -> usize {
        let of = |column: &Column| match column {
            Column::Arrow(writer) => writer.memory_size(),
            Column::Int96(column) => column.memory(),
        };
        self.waiting_bytes + self.columns.iter().map(of).sum::<usize>()
    }

    /// Bytes of the file if it were closed now, about.
    pub fn bytes(&self) -> usize {
        let of = |column: &Column| match column {
            Column::Arrow(writer) => writer.get_estimated_total_bytes(),
            Column::Int96(column) => column.memory(),
        };
        self.file.bytes_written() + self.waiting_bytes + self.columns.iter().map(of).sum::<usize>()
    }

    /// Ends the row group.
    pub fn flush(&mut self) -> Result<()> {
        self.encode_waiting()?;
        if self.columns.is_empty() {
            return Ok(());
        }
        let columns = std::mem::take(&mut self.columns);
        let write = || -> parquet::errors::Result<()> {
            let mut group = self.file.next_row_group()?;
            for column in columns {
                match column {
                    Column::Arrow(writer) => writer.close()?.append_to_row_group(&mut group)?,
                    Column::Int96(mut column) => match group.next_column()? {
                        Some(out) => column.flush(out)?,
                        None => return Err(ParquetError::General("a column is missing".to_owned())),
                    },
                }
            }
            group.close().map(|_| ())
        };
        write().map_err(failed)
    }

    /// Ends the file and gives what it was written to.
    pub fn finish(mut self) -> Result<BufWriter<File>> {
        self.flush()?;
        self.file.into_inner().map_err(failed)
    }
}

fn properties(schema: &SchemaDescriptor, compression: Compression) -> WriterProperties {
    let codec = match compression {
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
    };
    let mut builder = WriterProperties::builder().set_compression(codec);
    for column in schema.columns() {
        // The order of INT96 is not defined.
        if column.physical_type() == PhysicalType::INT96 {
            let path = ColumnPath::new(column.path().parts().to_vec());
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    builder.build()
}

/// The same fields with timestamps of a unit, without a zone: Flink never marks them as instants.
fn in_unit(fields: &Fields, unit: TimeUnit) -> Fields {
    fn of(data_type: &ArrowType, unit: TimeUnit) -> ArrowType {
        let field = |f: &Arc<Field>| Arc::new(f.as_ref().clone().with_data_type(of(f.data_type(), unit)));
        match data_type {
            ArrowType::Timestamp(..) => ArrowType::Timestamp(unit, None),
            ArrowType::List(item) => ArrowType::List(field(item)),
            ArrowType::Map(entries, sorted) => ArrowType::Map(field(entries), *sorted),
            ArrowType::Struct(fields) => ArrowType::Struct(in_unit(fields, unit)),
            other => other.clone(),
        }
    }
    fields
        .iter()
        .map(|f| f.as_ref().clone().with_data_type(of(f.data_type(), unit)))
        .collect()
}

/// The same schema with INT96 for timestamps.
fn to_int96(root: TypePtr) -> parquet::errors::Result<TypePtr> {
    let info = root.get_basic_info();
    if root.is_primitive() {
        if !matches!(info.logical_type_ref(), Some(LogicalType::Timestamp { .. })) {
            return Ok(root);
        }
        let int96 = Type::primitive_type_builder(root.name(), PhysicalType::INT96)
            .with_repetition(info.repetition())
            .build()?;
        return Ok(Arc::new(int96));
    }
    let fields = root
        .get_fields()
        .iter()
        .map(|f| to_int96(f.clone()))
        .collect::<parquet::errors::Result<Vec<_>>>()?;
    let mut group = Type::group_type_builder(root.name())
        .with_fields(fields)
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned());
    if info.has_repetition() {
        group = group.with_repetition(info.repetition());
    }
    Ok(Arc::new(group.build()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use millrace_expr::RowType;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;
    use crate::source::golden::{file, flat, read, shown, times};
    use crate::timestamps::Zone;

    fn settings(zone: Zone, timestamps: Timestamps) -> Parquet {
        Parquet {
            compression: Compression::Snappy,
            zone,
            timestamps,
        }
    }

    fn written(path: &Path, rows: &RecordBatch, settings: Parquet) {
        let out = BufWriter::new(File::create(path).unwrap());
        let mut file = ParquetFile::new(out, &rows.schema(), settings).unwrap();
        // Three row groups, one of two batches.
        for (offset, length) in [(0, 3), (3, 4), (7, 1), (8, 4)] {
            file.write(rows.slice(offset, length)).unwrap();
            assert!(file.memory() > 0);
            if length > 1 {
                file.flush().unwrap();
                assert_eq!(file.memory(), 0);
            }
        }
        file.finish().unwrap().into_inner().unwrap();
    }

    fn schema(path: &Path) -> String {
        let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        assert!(reader.metadata().num_row_groups() > 0);
        let mut out = Vec::new();
        let root = reader.metadata().file_metadata().schema();
        parquet::schema::printer::print_schema(&mut out, root);
        String::from_utf8(out).unwrap()
    }

    /// Instants and types are those of the file that Flink wrote from the same rows.
    fn as_flink(name: &str, fields: &RowType, settings: Parquet) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let rows = read(&file(name), fields, settings.zone).unwrap();
        written(&path, &rows, settings);
        let again = read(&path, fields, settings.zone).unwrap();
        assert_eq!(shown(&again, fields), shown(&rows, fields), "{name}");
        let instants = |path: &Path| shown(&read(path, fields, Zone::UTC).unwrap(), fields);
        assert_eq!(instants(&path), instants(&file(name)), "{name}");
        // Parquet's documentation advises against the mark that Flink gives a map's entries.
        let types = |text: String| {
            let lines = text.lines().skip(1);
            lines
                .map(|l| l.replace(" (MAP_KEY_VALUE)", ""))
                .collect::<Vec<_>>()
        };
        assert_eq!(types(schema(&path)), types(schema(&file(name))), "{name}");
    }

    #[test]
    fn timestamps_are_written_as_flink_writes_them() {
        let new_york = Zone::named("America/New_York");
        let micros = Timestamps::Int64(TimeUnit::Microsecond);
        let millis = Timestamps::Int64(TimeUnit::Millisecond);
        as_flink(
            "int96-new-york.parquet",
            &times(),
            settings(new_york, Timestamps::Int96),
        );
        as_flink(
            "int96-utc.parquet",
            &times(),
            settings(Zone::UTC, Timestamps::Int96),
        );
        as_flink("int64-new-york.parquet", &flat(), settings(new_york, micros));
        as_flink("int64-millis-utc.parquet", &flat(), settings(Zone::UTC, millis));
    }
}
