//! The schema of a table, as Flink's `AvroSchemaConverter` derives it.

use millrace_core::{Error, Result};
use millrace_expr::{DataType, Field, TypeKind};
use serde_json::{Value, json};

/// The name of a table's record.
const NAME: &str = "org.apache.flink.avro.generated.record";

/// Timestamps as Flink had them before 1.19: those without a zone as instants, and none with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legacy(pub bool);

/// The schema of a row of these columns.
pub fn of_row(fields: &[Field], legacy: Legacy) -> Result<Value> {
    record(fields, NAME, legacy)
}

fn record(fields: &[Field], name: &str, legacy: Legacy) -> Result<Value> {
    let fields = fields
        .iter()
        .map(|field| {
            let of = any(&field.data_type, &format!("{name}_{}", field.name), legacy)
                .map_err(|e| e.with_detail(format!("column '{}' of type {}", field.name, field.data_type)))?;
            let name = check_name(&field.name)?;
            Ok(match of {
                // A union with null.
                Value::Array(_) => json!({ "name": name, "type": of, "default": null }),
                of => json!({ "name": name, "type": of }),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let (namespace, name) = name.rsplit_once('.').unwrap_or(("", name));
    Ok(json!({ "type": "record", "name": check_name(name)?, "namespace": namespace, "fields": fields }))
}

/// Avro's names are letters, digits and underscores, and do not begin with a digit.
fn check_name(name: &str) -> Result<&str> {
    let is_letter = |c: char| c.is_alphabetic() || c == '_';
    let mut chars = name.chars();
    if chars.next().is_some_and(is_letter) && chars.all(|c| is_letter(c) || c.is_numeric()) {
        return Ok(name);
    }
    Err(Error::user(format!("'{name}' cannot be a name in Avro"))
        .with_hint("it takes letters, digits and '_', and no digit first: give the column another name"))
}

fn any(data_type: &DataType, name: &str, legacy: Legacy) -> Result<Value> {
    let of = not_null(data_type, name, legacy)?;
    Ok(match data_type.nullable && of != json!("null") {
        true => json!(["null", of]),
        false => of,
    })
}

fn micros(data_type: &DataType) -> Error {
    Error::unsupported(format!("{data_type} in the avro format"))
        .with_detail("Flink 2.1 writes and reads milliseconds there, under a schema that says microseconds")
        .with_hint("declare it with precision 3, or as BIGINT")
}

fn not_null(data_type: &DataType, name: &str, legacy: Legacy) -> Result<Value> {
    let precision = |what: &str, given: u8, most: u8| {
        Error::user(format!(
            "Avro does not support {what} with precision {given}: it only supports precision up to {most}"
        ))
        .with_hint("declare it with precision 3")
    };
    let logical = |of: &str, logical: &str| json!({ "type": of, "logicalType": logical });
    Ok(match &data_type.kind {
        TypeKind::Null => json!("null"),
        TypeKind::Boolean => json!("boolean"),
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int => json!("int"),
        TypeKind::BigInt => json!("long"),
        TypeKind::Float => json!("float"),
        TypeKind::Double => json!("double"),
        TypeKind::Char(_) | TypeKind::Varchar(_) => json!("string"),
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => json!("bytes"),
        TypeKind::Date => logical("int", "date"),
        TypeKind::Time(p) if *p <= 3 => logical("int", "time-millis"),
        TypeKind::Time(p) => return Err(precision("TIME", *p, 3)),
        TypeKind::Timestamp(p) => match (legacy, *p) {
            (Legacy(true), 0..=3) => logical("long", "timestamp-millis"),
            (Legacy(true), p) => return Err(precision("TIMESTAMP", p, 3)),
            (Legacy(false), 0..=3) => logical("long", "local-timestamp-millis"),
            (Legacy(false), 4..=6) => return Err(micros(data_type)),
            (Legacy(false), p) => return Err(precision("TIMESTAMP", p, 6)),
        },
        TypeKind::TimestampLtz(p) => {
            match (legacy, *p) {
                (Legacy(true), _) => {
                    return Err(Error::user("Avro does not support TIMESTAMP_LTZ in its legacy mapping").with_hint(
                    "set 'avro.timestamp_mapping.legacy' = 'false', or declare the column TIMESTAMP(3)",
                ));
                }
                (Legacy(false), 0..=3) => logical("long", "timestamp-millis"),
                (Legacy(false), 4..=6) => return Err(micros(data_type)),
                (Legacy(false), p) => return Err(precision("TIMESTAMP_LTZ", p, 6)),
            }
        }
        TypeKind::Decimal { precision, scale } => {
            json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
        }
        TypeKind::Array(element) => json!({ "type": "array", "items": any(element, name, legacy)? }),
        TypeKind::Map(key, value) if key.is_string() => {
            json!({ "type": "map", "values": any(value, name, legacy)? })
        }
        TypeKind::Multiset(element) if element.is_string() => {
            json!({ "type": "map", "values": ["null", "int"] })
        }
        TypeKind::Map(..) | TypeKind::Multiset(_) => {
            return Err(Error::user("the avro format takes only strings as keys of a map"));
        }
        TypeKind::Row(fields) => record(fields, name, legacy)?,
        TypeKind::IntervalYearMonth | TypeKind::IntervalDaySecond => {
            return Err(Error::user(format!(
                "the avro format has no form for {}",
                data_type.kind
            )));
        }
    })
}
