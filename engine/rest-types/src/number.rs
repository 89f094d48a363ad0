//! Numbers as Java's JSON has them.

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A double. What JSON has no number for is written as a text: "NaN", "Infinity", "-Infinity".
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Double(pub f64);

impl Double {
    /// Of nothing.
    pub const NAN: Double = Double(f64::NAN);
}

impl From<f64> for Double {
    fn from(value: f64) -> Self {
        Double(value)
    }
}

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DoubleVisitor)
    }
}

struct DoubleVisitor;

impl Visitor<'_> for DoubleVisitor {
    type Value = Double;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Double, E> {
        Ok(Double(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Double, E> {
        Ok(Double(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Double, E> {
        Ok(Double(value as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Double, E> {
        match text {
            "NaN" => Ok(Double::NAN),
            "Infinity" => Ok(Double(f64::INFINITY)),
            "-Infinity" => Ok(Double(f64::NEG_INFINITY)),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_has_no_number_for_is_a_text() {
        let values = [1.5, 0.0, f64::INFINITY, f64::NEG_INFINITY].map(Double);
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"[1.5,0.0,"Infinity","-Infinity"]"#);
        assert_eq!(serde_json::from_str::<[Double; 4]>(&text).unwrap(), values);
        assert_eq!(serde_json::to_string(&Double::NAN).unwrap(), "\"NaN\"");
        assert!(serde_json::from_str::<Double>("\"NaN\"").unwrap().0.is_nan());
        assert_eq!(serde_json::from_str::<Double>("3").unwrap(), Double(3.0));
        assert!(serde_json::from_str::<Double>("\"many\"").is_err());
    }
}
