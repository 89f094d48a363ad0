//! Evaluated arguments: arrays, or scalars that stay one value long.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, GenericByteArray,
    ListArray, MapArray, PrimitiveArray, StringArray, UInt32Array, make_array, new_null_array,
};
use arrow::datatypes::{ByteArrayType, DataType as ArrowType};
use millrace_core::{Error, Result};

use crate::{DataType, Scalar, TypeKind};

/// An evaluated expression.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// One value a row.
    Array(ArrayRef),
    /// One value for all rows, as an array of length 1.
    Scalar(ArrayRef),
}

impl Value {
    /// The array, whatever its length.
    pub fn inner(&self) -> &ArrayRef {
        match self {
            Value::Array(a) | Value::Scalar(a) => a,
        }
    }

    pub fn is_scalar(&self) -> bool {
        matches!(self, Value::Scalar(_))
    }

    /// One value a row.
    pub fn into_array(self, rows: usize) -> Result<ArrayRef> {
        match self {
            Value::Array(array) => Ok(array),
            Value::Scalar(array) => repeat(&array, rows),
        }
    }

    /// For row access, see `Column`.
    fn mask(&self) -> usize {
        if self.is_scalar() { 0 } else { usize::MAX }
    }

    pub fn strings(&self) -> Column<&StringArray> {
        Column {
            array: self.inner().as_string::<i32>(),
            mask: self.mask(),
        }
    }

    pub fn bytes(&self) -> Column<&BinaryArray> {
        Column {
            array: self.inner().as_binary::<i32>(),
            mask: self.mask(),
        }
    }

    pub fn booleans(&self) -> Column<&BooleanArray> {
        Column {
            array: self.inner().as_boolean(),
            mask: self.mask(),
        }
    }

    pub fn primitives<T: ArrowPrimitiveType>(&self) -> Column<&PrimitiveArray<T>> {
        Column {
            array: self.inner().as_primitive::<T>(),
            mask: self.mask(),
        }
    }

    pub fn lists(&self) -> Column<&ListArray> {
        Column {
            array: self.inner().as_list::<i32>(),
            mask: self.mask(),
        }
    }

    pub fn maps(&self) -> Column<&MapArray> {
        Column {
            array: self.inner().as_map(),
            mask: self.mask(),
        }
    }

    /// Whether the value of a row is null.
    pub fn is_null(&self, row: usize) -> bool {
        let array = self.inner();
        array.data_type() == &ArrowType::Null || array.is_null(row & self.mask())
    }

    /// The index into `inner` that holds a row's value.
    pub fn index(&self, row: usize) -> usize {
        row & self.mask()
    }

    /// Integers of any width, dates and times as i64.
    pub fn integers(&self) -> Result<Integers<'_>> {
        let array = self.inner();
        let values = match array.data_type() {
            ArrowType::Int8 => IntegerArray::I8(array.as_primitive()),
            ArrowType::Int16 => IntegerArray::I16(array.as_primitive()),
            ArrowType::Int32 => IntegerArray::I32(array.as_primitive()),
            ArrowType::Int64 => IntegerArray::I64(array.as_primitive()),
            other => return Err(Error::internal(format!("expected integers, found {other}"))),
        };
        Ok(Integers {
            values,
            mask: self.mask(),
        })
    }
}

/// Access by row to an array or to a scalar: the mask maps every row to 0 for a scalar.
#[derive(Clone, Copy)]
pub(crate) struct Column<A> {
    pub array: A,
    mask: usize,
}

impl<A: ArrayAccessor> Column<A> {
    #[inline]
    pub fn get(&self, row: usize) -> Option<A::Item> {
        let row = row & self.mask;
        if self.array.is_null(row) {
            None
        } else {
            Some(self.array.value(row))
        }
    }
}

pub(crate) struct Integers<'a> {
    values: IntegerArray<'a>,
    mask: usize,
}

enum IntegerArray<'a> {
    I8(&'a arrow::array::Int8Array),
    I16(&'a arrow::array::Int16Array),
    I32(&'a arrow::array::Int32Array),
    I64(&'a arrow::array::Int64Array),
}

impl Integers<'_> {
    #[inline]
    pub fn get(&self, row: usize) -> Option<i64> {
        let row = row & self.mask;
        match self.values {
            IntegerArray::I8(a) => (!a.is_null(row)).then(|| i64::from(a.value(row))),
            IntegerArray::I16(a) => (!a.is_null(row)).then(|| i64::from(a.value(row))),
            IntegerArray::I32(a) => (!a.is_null(row)).then(|| i64::from(a.value(row))),
            IntegerArray::I64(a) => (!a.is_null(row)).then(|| a.value(row)),
        }
    }
}

/// Builds strings or bytes value by value, without an allocation a value.
pub(crate) struct BytesBuilder {
    offsets: Vec<i32>,
    values: Vec<u8>,
    nulls: arrow::array::NullBufferBuilder,
}

impl BytesBuilder {
    pub fn new(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        BytesBuilder {
            offsets,
            values: Vec::with_capacity(bytes),
            nulls: arrow::array::NullBufferBuilder::new(rows),
        }
    }

    /// Appends one value, written by `write` behind what the buffer already holds; what is
    /// written when `write` gives false is taken back, and the value is null.
    #[inline]
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.values.len();
        if write(&mut self.values) {
            self.nulls.append_non_null();
        } else {
            self.values.truncate(start);
            self.nulls.append_null();
        }
        self.end();
    }

    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.nulls.append_non_null();
        self.end();
    }

    #[inline]
    pub fn push_null(&mut self) {
        self.nulls.append_null();
        self.end();
    }

    #[inline]
    pub fn push_option(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.push(value),
            None => self.push_null(),
        }
    }

    #[inline]
    fn end(&mut self) {
        // A batch beyond 2 GiB is caught in `finish`.
        self.offsets.push(self.values.len() as i32);
    }

    fn finish<T: ByteArrayType<Offset = i32>>(mut self) -> Result<ArrayRef> {
        if self.values.len() > i32::MAX as usize {
            return Err(Error::user("the strings of one batch exceed 2 GiB")
                .with_hint("lower millrace.batch.max-rows"));
        }
        let offsets = arrow::buffer::OffsetBuffer::new(self.offsets.into());
        let array = GenericByteArray::<T>::try_new(offsets, self.values.into(), self.nulls.finish())
            .map_err(|e| Error::internal("a function wrote bytes that are not a string").with_source(e))?;
        Ok(Arc::new(array))
    }

    pub fn strings(self) -> Result<ArrayRef> {
        self.finish::<arrow::datatypes::Utf8Type>()
    }

    pub fn bytes(self) -> Result<ArrayRef> {
        self.finish::<arrow::datatypes::BinaryType>()
    }
}

/// Repeats the one value of `scalar`.
pub(crate) fn repeat(scalar: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    if rows == 1 {
        return Ok(scalar.clone());
    }
    if scalar.data_type() == &ArrowType::Null || scalar.is_null(0) {
        return Ok(new_null_array(scalar.data_type(), rows));
    }
    take(scalar, &UInt32Array::from(vec![0u32; rows]))
}

pub(crate) fn take(array: &dyn Array, indices: &UInt32Array) -> Result<ArrayRef> {
    arrow::compute::take(array, indices, None).map_err(arrow_error)
}

/// A failure of an Arrow kernel that types should have excluded.
pub(crate) fn arrow_error(error: arrow::error::ArrowError) -> Error {
    Error::internal("an Arrow kernel failed").with_source(error)
}

/// Gives an array exactly the Arrow type of a logical type; the two may differ in the names and
/// nullability of nested fields, or in a decimal's or timestamp's annotation, never in layout.
pub(crate) fn with_type(array: ArrayRef, data_type: &ArrowType) -> Result<ArrayRef> {
    if array.data_type() == data_type {
        return Ok(array);
    }
    if array.data_type() == &ArrowType::Null {
        return Ok(new_null_array(data_type, array.len()));
    }
    relabel(array.to_data(), data_type).map(make_array)
}

fn relabel(data: arrow::array::ArrayData, data_type: &ArrowType) -> Result<arrow::array::ArrayData> {
    if data.data_type() == data_type {
        return Ok(data);
    }
    let fields: Cow<'_, [arrow::datatypes::FieldRef]> = match data_type {
        ArrowType::List(field) | ArrowType::Map(field, _) => Cow::Owned(vec![field.clone()]),
        ArrowType::Struct(fields) => Cow::Borrowed(fields),
        _ => Cow::Owned(Vec::new()),
    };
    if data.child_data().len() != fields.len() {
        return Err(Error::internal(format!(
            "cannot read {} as {data_type}",
            data.data_type()
        )));
    }
    let children = data
        .child_data()
        .iter()
        .zip(fields.iter())
        .map(|(child, field)| relabel(child.clone(), field.data_type()))
        .collect::<Result<Vec<_>>>()?;
    data.into_builder()
        .data_type(data_type.clone())
        .child_data(children)
        .build()
        .map_err(|e| Error::internal("a value does not fit its declared type").with_source(e))
}

/// A literal as an array of length 1.
pub(crate) fn literal(value: &Scalar, data_type: &DataType) -> Result<ArrayRef> {
    use arrow::array as a;
    let arrow_type = data_type.to_arrow();
    let wrong = || Error::internal(format!("a literal {value:?} cannot have the type {data_type}"));
    let array: ArrayRef = match (value, &data_type.kind) {
        (Scalar::Null, _) => return Ok(new_null_array(&arrow_type, 1)),
        (Scalar::Boolean(v), TypeKind::Boolean) => Arc::new(BooleanArray::from(vec![*v])),
        (Scalar::Integer(v), TypeKind::TinyInt) => {
            Arc::new(a::Int8Array::from(vec![i8::try_from(*v).map_err(|_| wrong())?]))
        }
        (Scalar::Integer(v), TypeKind::SmallInt) => {
            Arc::new(a::Int16Array::from(vec![i16::try_from(*v).map_err(|_| wrong())?]))
        }
        (Scalar::Integer(v), TypeKind::Int) => {
            Arc::new(a::Int32Array::from(vec![i32::try_from(*v).map_err(|_| wrong())?]))
        }
        (Scalar::Integer(v), TypeKind::BigInt) => Arc::new(a::Int64Array::from(vec![*v])),
        (Scalar::Float(v), TypeKind::Float) => Arc::new(a::Float32Array::from(vec![*v])),
        (Scalar::Double(v), TypeKind::Double) => Arc::new(a::Float64Array::from(vec![*v])),
        (Scalar::Decimal(v), TypeKind::Decimal { precision, scale }) => Arc::new(
            a::Decimal128Array::from(vec![*v])
                .with_precision_and_scale(*precision, *scale as i8)
                .map_err(|_| wrong())?,
        ),
        (Scalar::String(v), TypeKind::Char(_) | TypeKind::Varchar(_)) => {
            Arc::new(StringArray::from(vec![v.as_str()]))
        }
        (Scalar::Bytes(v), TypeKind::Binary(_) | TypeKind::Varbinary(_)) => {
            Arc::new(BinaryArray::from(vec![v.as_slice()]))
        }
        (Scalar::Date(v), TypeKind::Date) => Arc::new(a::Date32Array::from(vec![*v])),
        (Scalar::Time(v), TypeKind::Time(_)) => Arc::new(a::Time32MillisecondArray::from(vec![*v])),
        (Scalar::Timestamp(v), TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)) => {
            with_type(Arc::new(a::Int64Array::from(vec![*v])), &arrow_type)?
        }
        (Scalar::Months(v), TypeKind::IntervalYearMonth) => {
            Arc::new(a::IntervalYearMonthArray::from(vec![*v]))
        }
        (Scalar::Millis(v), TypeKind::IntervalDaySecond) => {
            Arc::new(a::DurationMillisecondArray::from(vec![*v]))
        }
        _ => return Err(wrong()),
    };
    with_type(array, &arrow_type)
}
