//! Literal values of the expression IR.

use serde::{Deserialize, Serialize};

/// One value. Its logical type stands beside it in the expression, and says the unit of a
/// timestamp and the scale of a decimal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    Null,
    Boolean(bool),
    /// TINYINT, SMALLINT, INT and BIGINT.
    Integer(i64),
    Float(f32),
    Double(f64),
    /// The unscaled value.
    Decimal(i128),
    String(String),
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Milliseconds of the day.
    Time(i32),
    /// In the unit that `types::timestamp_unit` gives for the type's precision.
    Timestamp(i64),
    Months(i32),
    Millis(i64),
}
