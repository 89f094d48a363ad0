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
    #[serde(with = "text")]
    Float(f32),
    #[serde(with = "text")]
    Double(f64),
    /// The unscaled value.
    #[serde(with = "text")]
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

/// Written down as text: JSON has no infinities, and its readers no long integers.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'a, T: FromStr<Err: Display>, D: Deserializer<'a>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}
