//! Flink's logical types and the Arrow types that hold them.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{self as arrow_types, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

/// The length of STRING and BYTES: Flink's `VARCHAR(2147483647)`.
pub const MAX_LENGTH: u32 = i32::MAX as u32;

/// A logical type with its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DataType {
    pub kind: TypeKind,
    pub nullable: bool,
}

/// Flink's logical types (`LogicalTypeRoot`), without RAW and structured types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TypeKind {
    /// The type of an untyped NULL literal.
    Null,
    /// Length in code points, from 1.
    Char(u32),
    /// Length in code points, from 1; `MAX_LENGTH` is STRING.
    Varchar(u32),
    Boolean,
    Binary(u32),
    /// Length in bytes, from 1; `MAX_LENGTH` is BYTES.
    Varbinary(u32),
    /// Precision 1 to 38, scale 0 to precision.
    Decimal {
        precision: u8,
        scale: u8,
    },
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    /// Days since 1970-01-01.
    Date,
    /// Precision 0 to 9; held in milliseconds of the day, as Flink does.
    Time(u8),
    /// Precision 0 to 9, without a zone.
    Timestamp(u8),
    /// Precision 0 to 9, an instant shown in the session's zone.
    TimestampLtz(u8),
    /// Held in months.
    IntervalYearMonth,
    /// Held in milliseconds.
    IntervalDaySecond,
    Array(Box<DataType>),
    Map(Box<DataType>, Box<DataType>),
    Multiset(Box<DataType>),
    Row(Vec<Field>),
}

/// A named column, or a field of a ROW.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub data_type: DataType,
}

impl Field {
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Field {
            name: name.into(),
            data_type,
        }
    }
}

/// The columns of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RowType {
    pub fields: Vec<Field>,
}

impl RowType {
    pub fn new(fields: Vec<Field>) -> Self {
        RowType { fields }
    }

    pub fn names(&self) -> Vec<String> {
        self.fields.iter().map(|f| f.name.clone()).collect()
    }

    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    pub fn to_arrow(&self) -> arrow_types::SchemaRef {
        Arc::new(arrow_types::Schema::new(
            self.fields.iter().map(Field::to_arrow).collect::<Vec<_>>(),
        ))
    }
}

impl Field {
    pub fn to_arrow(&self) -> arrow_types::Field {
        arrow_types::Field::new(&self.name, self.data_type.to_arrow(), self.data_type.nullable)
    }
}

impl DataType {
    pub fn nullable(kind: TypeKind) -> Self {
        DataType { kind, nullable: true }
    }

    pub fn not_null(kind: TypeKind) -> Self {
        DataType {
            kind,
            nullable: false,
        }
    }

    pub fn with_nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }

    pub fn string() -> Self {
        Self::nullable(TypeKind::Varchar(MAX_LENGTH))
    }

    pub fn bytes() -> Self {
        Self::nullable(TypeKind::Varbinary(MAX_LENGTH))
    }

    pub fn boolean() -> Self {
        Self::nullable(TypeKind::Boolean)
    }

    pub fn int() -> Self {
        Self::nullable(TypeKind::Int)
    }

    pub fn bigint() -> Self {
        Self::nullable(TypeKind::BigInt)
    }

    pub fn double() -> Self {
        Self::nullable(TypeKind::Double)
    }

    pub fn decimal(precision: u8, scale: u8) -> Self {
        Self::nullable(TypeKind::Decimal { precision, scale })
    }

    /// The Arrow type that holds values of this type. Timestamps are held in milliseconds up to
    /// precision 3, microseconds up to 6, nanoseconds up to 9 (then 1677 to 2262 only: what does
    /// not fit is an error, never another value).
    pub fn to_arrow(&self) -> arrow_types::DataType {
        use arrow_types::DataType as A;
        match &self.kind {
            TypeKind::Null => A::Null,
            TypeKind::Char(_) | TypeKind::Varchar(_) => A::Utf8,
            TypeKind::Boolean => A::Boolean,
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => A::Binary,
            TypeKind::Decimal { precision, scale } => A::Decimal128(*precision, *scale as i8),
            TypeKind::TinyInt => A::Int8,
            TypeKind::SmallInt => A::Int16,
            TypeKind::Int => A::Int32,
            TypeKind::BigInt => A::Int64,
            TypeKind::Float => A::Float32,
            TypeKind::Double => A::Float64,
            TypeKind::Date => A::Date32,
            TypeKind::Time(_) => A::Time32(TimeUnit::Millisecond),
            TypeKind::Timestamp(p) => A::Timestamp(timestamp_unit(*p), None),
            TypeKind::TimestampLtz(p) => A::Timestamp(timestamp_unit(*p), Some("UTC".into())),
            TypeKind::IntervalYearMonth => A::Interval(IntervalUnit::YearMonth),
            TypeKind::IntervalDaySecond => A::Duration(TimeUnit::Millisecond),
            TypeKind::Array(element) => A::List(Arc::new(arrow_types::Field::new(
                "item",
                element.to_arrow(),
                element.nullable,
            ))),
            TypeKind::Map(key, value) => map_type(key.to_arrow(), value.to_arrow(), value.nullable),
            TypeKind::Multiset(element) => map_type(element.to_arrow(), A::Int32, false),
            TypeKind::Row(fields) => A::Struct(fields.iter().map(Field::to_arrow).collect::<Vec<_>>().into()),
        }
    }

    pub fn is_string(&self) -> bool {
        matches!(self.kind, TypeKind::Char(_) | TypeKind::Varchar(_))
    }

    pub fn is_binary(&self) -> bool {
        matches!(self.kind, TypeKind::Binary(_) | TypeKind::Varbinary(_))
    }

    pub fn is_integer(&self) -> bool {
        matches!(
            self.kind,
            TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt
        )
    }

    pub fn is_numeric(&self) -> bool {
        self.is_integer()
            || matches!(
                self.kind,
                TypeKind::Float | TypeKind::Double | TypeKind::Decimal { .. }
            )
    }

    pub fn is_timestamp(&self) -> bool {
        matches!(self.kind, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_))
    }
}

/// The Arrow unit that holds timestamps of a precision.
pub fn timestamp_unit(precision: u8) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

fn map_type(
    key: arrow_types::DataType,
    value: arrow_types::DataType,
    value_nullable: bool,
) -> arrow_types::DataType {
    let entries = arrow_types::DataType::Struct(
        vec![
            arrow_types::Field::new("key", key, false),
            arrow_types::Field::new("value", value, value_nullable),
        ]
        .into(),
    );
    arrow_types::DataType::Map(
        Arc::new(arrow_types::Field::new("entries", entries, false)),
        false,
    )
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeKind::Null => f.write_str("NULL"),
            TypeKind::Char(n) => write!(f, "CHAR({n})"),
            TypeKind::Varchar(MAX_LENGTH) => f.write_str("STRING"),
            TypeKind::Varchar(n) => write!(f, "VARCHAR({n})"),
            TypeKind::Boolean => f.write_str("BOOLEAN"),
            TypeKind::Binary(n) => write!(f, "BINARY({n})"),
            TypeKind::Varbinary(MAX_LENGTH) => f.write_str("BYTES"),
            TypeKind::Varbinary(n) => write!(f, "VARBINARY({n})"),
            TypeKind::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            TypeKind::TinyInt => f.write_str("TINYINT"),
            TypeKind::SmallInt => f.write_str("SMALLINT"),
            TypeKind::Int => f.write_str("INT"),
            TypeKind::BigInt => f.write_str("BIGINT"),
            TypeKind::Float => f.write_str("FLOAT"),
            TypeKind::Double => f.write_str("DOUBLE"),
            TypeKind::Date => f.write_str("DATE"),
            TypeKind::Time(p) => write!(f, "TIME({p})"),
            TypeKind::Timestamp(p) => write!(f, "TIMESTAMP({p})"),
            TypeKind::TimestampLtz(p) => write!(f, "TIMESTAMP_LTZ({p})"),
            TypeKind::IntervalYearMonth => f.write_str("INTERVAL YEAR TO MONTH"),
            TypeKind::IntervalDaySecond => f.write_str("INTERVAL DAY TO SECOND(3)"),
            TypeKind::Array(element) => write!(f, "ARRAY<{element}>"),
            TypeKind::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            TypeKind::Multiset(element) => write!(f, "MULTISET<{element}>"),
            TypeKind::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}`{}` {}", field.name, field.data_type)?;
                }
                f.write_str(">")
            }
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, if self.nullable { "" } else { " NOT NULL" })
    }
}
