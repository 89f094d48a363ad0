//! The columns that stand in files, and what Parquet's types become.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Schema};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::{DataType, Field, RowType, TypeKind};

use crate::timestamps::{self, Zone};

/// Indexes of the columns in files: those that are no partition's.
pub fn in_files(table: &TableSpec) -> Vec<usize> {
    (0..table.columns.len())
        .filter(|&i| !table.partition_keys.contains(&table.columns[i].name))
        .collect()
}

pub fn row_type(table: &TableSpec, indexes: &[usize]) -> RowType {
    RowType::new(indexes.iter().map(|&i| table.columns[i].clone()).collect())
}

/// The Arrow schema that Parquet files are written with.
pub fn arrow_schema(fields: &RowType) -> Arc<Schema> {
    fields.to_arrow()
}

/// Types that Parquet has no form for.
pub fn check_parquet(table: &str, fields: &[Field]) -> Result<()> {
    fn walk(data_type: &DataType) -> Result<(), &DataType> {
        match &data_type.kind {
            TypeKind::Null | TypeKind::IntervalYearMonth | TypeKind::IntervalDaySecond => Err(data_type),
            TypeKind::Array(element) | TypeKind::Multiset(element) => walk(element),
            TypeKind::Map(key, value) => walk(key).and_then(|()| walk(value)),
            TypeKind::Row(fields) => fields.iter().try_for_each(|f| walk(&f.data_type)),
            _ => Ok(()),
        }
    }
    for field in fields {
        walk(&field.data_type).map_err(|t| {
            Error::user(format!("the parquet format cannot carry the type {}", t.kind))
                .with_detail(format!("table '{table}', column '{}'", field.name))
        })?;
    }
    Ok(())
}

/// Whether values of a file's type can be read as the declared one without loss or guess.
pub fn readable(file: &ArrowType, declared: &ArrowType) -> bool {
    use ArrowType as A;
    if file == declared {
        return true;
    }
    match (file, declared) {
        (A::Utf8 | A::LargeUtf8 | A::Utf8View, A::Utf8) => true,
        (A::Dictionary(_, value), _) => readable(value, declared),
        (A::Binary | A::LargeBinary | A::BinaryView | A::FixedSizeBinary(_), A::Binary) => true,
        (A::Int8 | A::Int16 | A::Int32 | A::UInt8 | A::UInt16 | A::UInt32, A::Int64) => true,
        (A::Int8 | A::Int16 | A::UInt8 | A::UInt16, A::Int32) => true,
        (A::Int8 | A::UInt8, A::Int16) => true,
        // What does not fit is an error when it is met.
        (A::Int32 | A::Int64, A::Int8 | A::Int16 | A::Int32) => true,
        (A::Float32, A::Float64) => true,
        (A::Decimal128(_, s1) | A::Decimal256(_, s1), A::Decimal128(_, s2)) => s1 <= s2,
        (A::Time32(_) | A::Time64(_), A::Time32(_)) => true,
        // As Flink, which does not look at whether a file calls them instants.
        (A::Timestamp(..), A::Timestamp(..)) => true,
        (A::List(a) | A::LargeList(a), A::List(b)) => readable(a.data_type(), b.data_type()),
        (A::Struct(a), A::Struct(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(x, y)| x.name() == y.name() && readable(x.data_type(), y.data_type()))
        }
        (A::Map(a, _), A::Map(b, _)) => match (a.data_type(), b.data_type()) {
            (A::Struct(a), A::Struct(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .zip(b)
                        .all(|(x, y)| readable(x.data_type(), y.data_type()))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Gives a file's values the declared type, its instants shown in `zone`.
pub fn convert(array: &ArrayRef, field: &Field, zone: Zone) -> Result<ArrayRef> {
    let declared = field.data_type.to_arrow();
    let array = if timestamps::are_in(&declared) {
        &timestamps::convert(array, &declared, &|s| zone.local(s))
            .map_err(|e| e.with_detail(format!("column '{}' of type {}", field.name, field.data_type)))?
    } else {
        array
    };
    let array = if array.data_type() == &declared {
        array.clone()
    } else {
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        cast_with_options(array, &declared, &options).map_err(|e| {
            Error::user("a value of a file does not fit its column")
                .with_detail(format!("column '{}' of type {}", field.name, field.data_type))
                .with_source(e)
        })?
    };
    if !field.data_type.nullable && array.null_count() > 0 {
        return Err(Error::user("a file has a NULL in a column that is NOT NULL")
            .with_detail(format!("column '{}'", field.name)));
    }
    Ok(array)
}
