//! Columns under construction: one builder a logical type, rows appended one by one.
//!
//! A builder can be cut back to an earlier length. That is what makes a half-read record leave no
//! trace, and a repeated key replace the value before it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DurationMillisecondArray, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, IntervalYearMonthArray, ListArray, MapArray,
    NullArray, PrimitiveArray, StringArray, StructArray, Time32MillisecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowTimestampType, DataType as ArrowType, Date32Type, Field as ArrowField, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use millrace_core::{Error, Result};
use millrace_expr::types::timestamp_unit;
use millrace_expr::{DataType, Field, TypeKind};

use crate::json::order::Order;

/// Indexes of null rows, ascending. Most columns have none, and then nothing is done a row.
#[derive(Debug, Default)]
pub struct Nulls(Vec<u32>);

impl Nulls {
    fn truncate(&mut self, rows: usize) {
        while self.0.last().is_some_and(|&last| last as usize >= rows) {
            self.0.pop();
        }
    }

    fn take(&mut self, rows: usize) -> Option<NullBuffer> {
        let nulls = std::mem::take(&mut self.0);
        if nulls.is_empty() {
            return None;
        }
        let mut bits = vec![0xffu8; rows.div_ceil(8)];
        for row in nulls {
            bits[row as usize / 8] &= !(1 << (row % 8));
        }
        Some(NullBuffer::new(arrow::buffer::BooleanBuffer::new(
            Buffer::from_vec(bits),
            0,
            rows,
        )))
    }
}

/// Bytes of variable length: value i is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Debug)]
pub struct VarBytes {
    pub offsets: Vec<i32>,
    pub data: Vec<u8>,
    /// Bytes that the batch before had: the next one mostly has about as many.
    expected: usize,
}

impl Default for VarBytes {
    fn default() -> Self {
        VarBytes {
            offsets: vec![0],
            data: Vec::new(),
            expected: 0,
        }
    }
}

impl VarBytes {
    fn reserve(&mut self, rows: usize) {
        self.offsets.reserve(rows);
        let expected = if self.expected == 0 {
            rows * 8
        } else {
            self.expected + self.expected / 8
        };
        self.data.reserve(expected);
    }

    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.close();
    }

    /// Ends a value whose bytes were appended to `data`.
    #[inline]
    pub fn close(&mut self) {
        // A batch past 2 GiB is found when the column is finished.
        self.offsets.push(self.data.len() as i32);
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        let end = self.offsets.last().copied().unwrap_or(0);
        self.data.truncate(end as usize);
    }

    fn take(&mut self) -> Result<(OffsetBuffer<i32>, Buffer)> {
        if self.data.len() > i32::MAX as usize {
            return Err(Error::user("a batch holds more than 2 GiB in one column")
                .with_hint("set millrace.batch.max-rows to a smaller number"));
        }
        let VarBytes { offsets, data, .. } = std::mem::take(self);
        self.expected = data.len();
        Ok((
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(data),
        ))
    }
}

/// Timestamps in the unit of their precision.
#[derive(Debug)]
pub struct Timestamps {
    pub values: Vec<i64>,
    pub unit: TimeUnit,
    /// TIMESTAMP_LTZ.
    pub zoned: bool,
}

#[derive(Debug)]
pub struct Decimals {
    pub values: Vec<i128>,
    pub precision: u8,
    pub scale: u8,
}

#[derive(Debug)]
pub struct RowColumns {
    pub rows: usize,
    pub names: Vec<String>,
    pub fields: Vec<Column>,
    /// The order in which the last JSON object had its keys.
    pub order: Order,
}

#[derive(Debug)]
pub enum Values {
    Null(usize),
    Boolean(Vec<bool>),
    TinyInt(Vec<i8>),
    SmallInt(Vec<i16>),
    Int(Vec<i32>),
    BigInt(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal(Decimals),
    Text(VarBytes),
    Bytes(VarBytes),
    Date(Vec<i32>),
    Time(Vec<i32>),
    Timestamp(Timestamps),
    Months(Vec<i32>),
    Millis(Vec<i64>),
    Array {
        offsets: Vec<i32>,
        item: Box<Column>,
    },
    /// MAP, and MULTISET as a map to INT.
    Map {
        offsets: Vec<i32>,
        key: Box<Column>,
        value: Box<Column>,
    },
    Row(Box<RowColumns>),
}

#[derive(Debug)]
pub struct Column {
    pub data_type: DataType,
    pub values: Values,
    nulls: Nulls,
}

impl Column {
    pub fn new(data_type: &DataType) -> Self {
        let values = match &data_type.kind {
            TypeKind::Null => Values::Null(0),
            TypeKind::Char(_) | TypeKind::Varchar(_) => Values::Text(VarBytes::default()),
            TypeKind::Boolean => Values::Boolean(Vec::new()),
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Values::Bytes(VarBytes::default()),
            TypeKind::Decimal { precision, scale } => Values::Decimal(Decimals {
                values: Vec::new(),
                precision: *precision,
                scale: *scale,
            }),
            TypeKind::TinyInt => Values::TinyInt(Vec::new()),
            TypeKind::SmallInt => Values::SmallInt(Vec::new()),
            TypeKind::Int => Values::Int(Vec::new()),
            TypeKind::BigInt => Values::BigInt(Vec::new()),
            TypeKind::Float => Values::Float(Vec::new()),
            TypeKind::Double => Values::Double(Vec::new()),
            TypeKind::Date => Values::Date(Vec::new()),
            TypeKind::Time(_) => Values::Time(Vec::new()),
            TypeKind::Timestamp(p) => Values::Timestamp(Timestamps {
                values: Vec::new(),
                unit: timestamp_unit(*p),
                zoned: false,
            }),
            TypeKind::TimestampLtz(p) => Values::Timestamp(Timestamps {
                values: Vec::new(),
                unit: timestamp_unit(*p),
                zoned: true,
            }),
            TypeKind::IntervalYearMonth => Values::Months(Vec::new()),
            TypeKind::IntervalDaySecond => Values::Millis(Vec::new()),
            TypeKind::Array(element) => Values::Array {
                offsets: vec![0],
                item: Box::new(Column::new(element)),
            },
            TypeKind::Map(key, value) => Values::Map {
                offsets: vec![0],
                key: Box::new(Column::new(key)),
                value: Box::new(Column::new(value)),
            },
            TypeKind::Multiset(element) => Values::Map {
                offsets: vec![0],
                key: Box::new(Column::new(element)),
                value: Box::new(Column::new(&DataType::not_null(TypeKind::Int))),
            },
            TypeKind::Row(fields) => Values::Row(Box::new(RowColumns::new(fields))),
        };
        Column {
            data_type: data_type.clone(),
            values,
            nulls: Nulls::default(),
        }
    }

    pub fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Null(_) => {}
            Values::Boolean(v) => v.reserve(rows),
            Values::TinyInt(v) => v.reserve(rows),
            Values::SmallInt(v) => v.reserve(rows),
            Values::Int(v) | Values::Date(v) | Values::Time(v) | Values::Months(v) => v.reserve(rows),
            Values::BigInt(v) | Values::Millis(v) => v.reserve(rows),
            Values::Timestamp(v) => v.values.reserve(rows),
            Values::Float(v) => v.reserve(rows),
            Values::Double(v) => v.reserve(rows),
            Values::Decimal(v) => v.values.reserve(rows),
            Values::Text(v) | Values::Bytes(v) => v.reserve(rows),
            Values::Array { offsets, .. } | Values::Map { offsets, .. } => offsets.reserve(rows),
            Values::Row(row) => row.fields.iter_mut().for_each(|f| f.reserve(rows)),
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Null(n) => *n,
            Values::Boolean(v) => v.len(),
            Values::TinyInt(v) => v.len(),
            Values::SmallInt(v) => v.len(),
            Values::Int(v) | Values::Date(v) | Values::Time(v) | Values::Months(v) => v.len(),
            Values::BigInt(v) | Values::Millis(v) => v.len(),
            Values::Timestamp(v) => v.values.len(),
            Values::Float(v) => v.len(),
            Values::Double(v) => v.len(),
            Values::Decimal(v) => v.values.len(),
            Values::Text(v) | Values::Bytes(v) => v.len(),
            Values::Array { offsets, .. } | Values::Map { offsets, .. } => offsets.len() - 1,
            Values::Row(row) => row.rows,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.0.binary_search(&(row as u32)).is_ok()
    }

    /// Drops all rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        match &mut self.values {
            Values::Null(n) => *n = (*n).min(rows),
            Values::Boolean(v) => v.truncate(rows),
            Values::TinyInt(v) => v.truncate(rows),
            Values::SmallInt(v) => v.truncate(rows),
            Values::Int(v) | Values::Date(v) | Values::Time(v) | Values::Months(v) => v.truncate(rows),
            Values::BigInt(v) | Values::Millis(v) => v.truncate(rows),
            Values::Timestamp(v) => v.values.truncate(rows),
            Values::Float(v) => v.truncate(rows),
            Values::Double(v) => v.truncate(rows),
            Values::Decimal(v) => v.values.truncate(rows),
            Values::Text(v) | Values::Bytes(v) => v.truncate(rows),
            Values::Array { offsets, item } => {
                offsets.truncate(rows + 1);
                item.truncate(offsets.last().copied().unwrap_or(0) as usize);
            }
            Values::Map { offsets, key, value } => {
                offsets.truncate(rows + 1);
                let entries = offsets.last().copied().unwrap_or(0) as usize;
                key.truncate(entries);
                value.truncate(entries);
            }
            Values::Row(row) => {
                row.rows = row.rows.min(rows);
                row.fields.iter_mut().for_each(|f| f.truncate(rows));
            }
        }
    }

    /// Appends a null, whatever the type says: the caller has checked `data_type.nullable`, or the
    /// row around it is null itself.
    pub fn push_null(&mut self) {
        self.nulls.0.push(self.len() as u32);
        match &mut self.values {
            Values::Null(n) => *n += 1,
            Values::Boolean(v) => v.push(false),
            Values::TinyInt(v) => v.push(0),
            Values::SmallInt(v) => v.push(0),
            Values::Int(v) | Values::Date(v) | Values::Time(v) | Values::Months(v) => v.push(0),
            Values::BigInt(v) | Values::Millis(v) => v.push(0),
            Values::Timestamp(v) => v.values.push(0),
            Values::Float(v) => v.push(0.0),
            Values::Double(v) => v.push(0.0),
            Values::Decimal(v) => v.values.push(0),
            Values::Text(v) | Values::Bytes(v) => v.close(),
            Values::Array { offsets, .. } | Values::Map { offsets, .. } => {
                offsets.push(offsets.last().copied().unwrap_or(0));
            }
            Values::Row(row) => {
                row.rows += 1;
                row.fields.iter_mut().for_each(Column::push_null);
            }
        }
    }

    /// Gives the rows as an array of the type's Arrow form, and starts again with none.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let rows = self.len();
        let nulls = self.nulls.take(rows);
        Ok(match &mut self.values {
            Values::Null(n) => Arc::new(NullArray::new(std::mem::take(n))),
            Values::Boolean(v) => Arc::new(BooleanArray::new(std::mem::take(v).into(), nulls)),
            Values::TinyInt(v) => Arc::new(Int8Array::new(std::mem::take(v).into(), nulls)),
            Values::SmallInt(v) => Arc::new(Int16Array::new(std::mem::take(v).into(), nulls)),
            Values::Int(v) => Arc::new(Int32Array::new(std::mem::take(v).into(), nulls)),
            Values::BigInt(v) => Arc::new(Int64Array::new(std::mem::take(v).into(), nulls)),
            Values::Float(v) => Arc::new(Float32Array::new(std::mem::take(v).into(), nulls)),
            Values::Double(v) => Arc::new(Float64Array::new(std::mem::take(v).into(), nulls)),
            Values::Decimal(v) => Arc::new(
                Decimal128Array::new(std::mem::take(&mut v.values).into(), nulls)
                    .with_precision_and_scale(v.precision, v.scale as i8)
                    .map_err(bug)?,
            ),
            Values::Text(v) => {
                let (offsets, data) = v.take()?;
                Arc::new(StringArray::try_new(offsets, data, nulls).map_err(bug)?)
            }
            Values::Bytes(v) => {
                let (offsets, data) = v.take()?;
                Arc::new(BinaryArray::try_new(offsets, data, nulls).map_err(bug)?)
            }
            Values::Date(v) => Arc::new(PrimitiveArray::<Date32Type>::new(std::mem::take(v).into(), nulls)),
            Values::Time(v) => Arc::new(Time32MillisecondArray::new(std::mem::take(v).into(), nulls)),
            Values::Timestamp(v) => {
                let values = std::mem::take(&mut v.values);
                match v.unit {
                    TimeUnit::Millisecond => timestamps::<TimestampMillisecondType>(values, nulls, v.zoned),
                    TimeUnit::Microsecond => timestamps::<TimestampMicrosecondType>(values, nulls, v.zoned),
                    _ => timestamps::<TimestampNanosecondType>(values, nulls, v.zoned),
                }
            }
            Values::Months(v) => Arc::new(IntervalYearMonthArray::new(std::mem::take(v).into(), nulls)),
            Values::Millis(v) => Arc::new(DurationMillisecondArray::new(std::mem::take(v).into(), nulls)),
            Values::Array { offsets, item } => {
                let offsets = std::mem::replace(offsets, vec![0]);
                let field = ArrowField::new("item", item.data_type.to_arrow(), item.data_type.nullable);
                let items = item.finish()?;
                Arc::new(
                    ListArray::try_new(
                        Arc::new(field),
                        OffsetBuffer::new(ScalarBuffer::from(offsets)),
                        items,
                        nulls,
                    )
                    .map_err(bug)?,
                )
            }
            Values::Map { offsets, key, value } => {
                let offsets = std::mem::replace(offsets, vec![0]);
                let ArrowType::Map(entries, _) = self.data_type.to_arrow() else {
                    return Err(Error::internal("a map column has another type"));
                };
                let ArrowType::Struct(fields) = entries.data_type().clone() else {
                    return Err(Error::internal("a map column has entries of another type"));
                };
                let structs =
                    StructArray::try_new(fields, vec![key.finish()?, value.finish()?], None).map_err(bug)?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(MapArray::try_new(entries, offsets, structs, nulls, false).map_err(bug)?)
            }
            Values::Row(row) => {
                let fields: Vec<_> = row
                    .names
                    .iter()
                    .zip(&row.fields)
                    .map(|(n, c)| ArrowField::new(n, c.data_type.to_arrow(), c.data_type.nullable))
                    .collect();
                let arrays = row
                    .fields
                    .iter_mut()
                    .map(Column::finish)
                    .collect::<Result<Vec<_>>>()?;
                let array = StructArray::try_new_with_length(fields.into(), arrays, nulls, row.rows);
                row.rows = 0;
                Arc::new(array.map_err(bug)?)
            }
        })
    }
}

impl RowColumns {
    pub fn new(fields: &[Field]) -> Self {
        RowColumns {
            rows: 0,
            names: fields.iter().map(|f| f.name.clone()).collect(),
            fields: fields.iter().map(|f| Column::new(&f.data_type)).collect(),
            order: Order::new(fields.iter().map(|f| f.name.as_str())),
        }
    }
}

fn timestamps<T: ArrowTimestampType>(values: Vec<i64>, nulls: Option<NullBuffer>, zoned: bool) -> ArrayRef {
    let array = PrimitiveArray::<T>::new(values.into(), nulls);
    if zoned {
        Arc::new(array.with_timezone("UTC"))
    } else {
        Arc::new(array)
    }
}

fn bug(e: arrow::error::ArrowError) -> Error {
    Error::internal("a decoded column does not fit its type").with_source(e)
}

/// Checks that an array has the type that its field declares, before it is read as such.
pub fn check_type(array: &dyn Array, field: &Field) -> Result<()> {
    let expected = field.data_type.to_arrow();
    if array.data_type() == &expected {
        return Ok(());
    }
    Err(Error::internal(format!(
        "column '{}' arrives with another type than declared",
        field.name
    ))
    .with_detail(format!("declared {expected}, is {}", array.data_type())))
}
