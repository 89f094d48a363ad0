//! CAST among ARRAY, MAP, MULTISET and ROW types, element by element.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, ListArray, MapArray, StructArray, make_array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType as ArrowType;
use arrow::error::ArrowError;
use millrace_core::{Error, Result};

use super::evaluate;
use crate::compile::Session;
use crate::value::arrow_error;
use crate::{DataType, TypeKind};

/// With `try_cast` one element that fails makes the whole value NULL, as in Flink.
pub(super) fn cast(
    array: &ArrayRef,
    from: &DataType,
    to: &DataType,
    try_cast: bool,
    session: &Session,
) -> Result<ArrayRef> {
    match cast_all(array, from, to, session) {
        Err(_) if try_cast => {}
        result => return result,
    }
    let arrow_type = to.to_arrow();
    let rows: Vec<ArrayRef> = (0..array.len())
        .map(|row| {
            cast_all(&array.slice(row, 1), from, to, session)
                .unwrap_or_else(|_| new_null_array(&arrow_type, 1))
        })
        .collect();
    let rows: Vec<&dyn Array> = rows.iter().map(|a| a.as_ref()).collect();
    arrow::compute::concat(&rows).map_err(arrow_error)
}

fn cast_all(array: &ArrayRef, from: &DataType, to: &DataType, session: &Session) -> Result<ArrayRef> {
    let element =
        |array: &ArrayRef, from: &DataType, to: &DataType| evaluate(array, from, to, false, session);
    match (&from.kind, &to.kind, to.to_arrow()) {
        (TypeKind::Array(f), TypeKind::Array(t), ArrowType::List(field)) => {
            let list = array.as_list::<i32>();
            let values = element(list.values(), f, t)?;
            let list = ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned());
            Ok(Arc::new(list.map_err(|e| not_null(e, &[t]))?))
        }
        (TypeKind::Map(fk, fv), TypeKind::Map(tk, tv), ArrowType::Map(field, sorted)) => {
            let map = array.as_map();
            let columns = vec![element(map.keys(), fk, tk)?, element(map.values(), fv, tv)?];
            let ArrowType::Struct(fields) = field.data_type() else {
                return Err(Error::internal("a map without entries"));
            };
            let entries =
                StructArray::try_new(fields.clone(), columns, None).map_err(|e| not_null(e, &[tk, tv]))?;
            let map = MapArray::try_new(
                field.clone(),
                map.offsets().clone(),
                entries,
                map.nulls().cloned(),
                sorted,
            );
            Ok(Arc::new(map.map_err(arrow_error)?))
        }
        (TypeKind::Row(f), TypeKind::Row(t), ArrowType::Struct(fields)) => {
            let row = array.as_struct();
            let columns = row
                .columns()
                .iter()
                .zip(f.iter().zip(t))
                .map(|(column, (f, t))| element(&masked(column, row.nulls())?, &f.data_type, &t.data_type))
                .collect::<Result<Vec<_>>>()?;
            let types: Vec<&DataType> = t.iter().map(|f| &f.data_type).collect();
            let columns = StructArray::try_new(fields, columns, row.nulls().cloned());
            Ok(Arc::new(columns.map_err(|e| not_null(e, &types))?))
        }
        _ => Err(Error::internal(format!("no cast from {from} to {to}"))),
    }
}

/// Flink lets a null through into elements and fields that are declared NOT NULL, as it does not
/// check them; Arrow's arrays do.
fn not_null(error: ArrowError, declared: &[&DataType]) -> Error {
    if declared.iter().all(|t| t.nullable) {
        return arrow_error(error);
    }
    Error::user("a NULL where an element or field is declared NOT NULL")
        .with_detail(error.to_string())
        .with_hint("declare it without NOT NULL, or replace NULLs by COALESCE")
}

/// The fields of a null row hold arbitrary values, which must not be cast.
fn masked(column: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<ArrayRef> {
    if nulls.is_none_or(|n| n.null_count() == 0) || column.data_type() == &ArrowType::Null {
        return Ok(column.clone());
    }
    let nulls = NullBuffer::union(column.nulls(), nulls);
    let data: ArrayData = column
        .to_data()
        .into_builder()
        .nulls(nulls)
        .build()
        .map_err(arrow_error)?;
    Ok(make_array(data))
}
