//! Files that Apache Flink 2.1.1 wrote, for the tests of reading and writing: `tests/golden/refresh`.

use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;
use millrace_core::{Result, RowKind};
use millrace_expr::{DataType, Field, RowType, TypeKind};
use millrace_formats::row_text::RowText;

use super::FileReader;
use super::parquet::{ParquetFile, check};
use crate::timestamps::Zone;

pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

pub fn nullable(kind: TypeKind) -> DataType {
    DataType::nullable(kind)
}

pub fn array(element: DataType) -> DataType {
    nullable(TypeKind::Array(Box::new(element)))
}

pub fn map(key: DataType, value: DataType) -> DataType {
    nullable(TypeKind::Map(Box::new(key), Box::new(value)))
}

pub fn flat() -> RowType {
    RowType::new(vec![
        Field::new("id", DataType::int()),
        Field::new("a", nullable(TypeKind::Timestamp(3))),
        Field::new("b", nullable(TypeKind::Timestamp(9))),
        Field::new("c", nullable(TypeKind::TimestampLtz(6))),
    ])
}

pub fn times() -> RowType {
    let mut fields = flat().fields;
    let micros = || nullable(TypeKind::Timestamp(6));
    fields.extend([
        Field::new("d", array(micros())),
        Field::new("e", nullable(TypeKind::Row(vec![Field::new("x", micros())]))),
        Field::new("f", map(DataType::string(), nullable(TypeKind::TimestampLtz(3)))),
    ]);
    RowType::new(fields)
}

pub fn types() -> RowType {
    let row = TypeKind::Row(vec![
        Field::new("x", DataType::int()),
        Field::new("y", array(DataType::string())),
    ]);
    let types = [
        DataType::boolean(),
        nullable(TypeKind::TinyInt),
        nullable(TypeKind::SmallInt),
        DataType::int(),
        DataType::bigint(),
        nullable(TypeKind::Float),
        DataType::double(),
        DataType::string(),
        DataType::bytes(),
        nullable(TypeKind::Date),
        nullable(TypeKind::Time(3)),
        DataType::decimal(9, 2),
        DataType::decimal(18, 2),
        DataType::decimal(38, 18),
        array(DataType::int()),
        map(DataType::string(), DataType::bigint()),
        nullable(row),
        nullable(TypeKind::Char(3)),
        nullable(TypeKind::Binary(2)),
    ];
    let names = ('a'..).map(String::from);
    RowType::new(names.zip(types).map(|(n, t)| Field::new(n, t)).collect())
}

pub fn read(path: &Path, fields: &RowType, zone: Zone) -> Result<RecordBatch> {
    check(path, fields)?;
    let mut file = ParquetFile::open(path, 0, fields, 5, zone)?;
    let mut batches = Vec::new();
    while let Some((rows, _)) = file.next(5)? {
        batches.push(RecordBatch::try_new(fields.to_arrow(), rows.columns).unwrap());
    }
    Ok(arrow::compute::concat_batches(&fields.to_arrow(), &batches).unwrap())
}

pub fn shown(rows: &RecordBatch, fields: &RowType) -> String {
    let text = RowText::new(&fields.fields, rows.columns()).unwrap();
    let mut out = Vec::new();
    for row in 0..rows.num_rows() {
        text.write(RowKind::Insert, row, &mut out);
        out.push(b'\n');
    }
    String::from_utf8(out).unwrap()
}
