//! Avro's schemas, parsed from JSON (Avro 1.12 specification, "Schema Declaration").

use std::collections::HashMap;

use millrace_core::{Error, Result};
use serde_json::Value;

/// Types within one another at most.
const MAX_DEPTH: usize = 200;

#[derive(Debug, Clone)]
pub struct Schema {
    pub root: Type,
    /// Records by the number that `Shape::Record` has: they may hold one another.
    pub records: Vec<Record>,
}

#[derive(Debug, Clone, Default)]
pub struct Record {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub of: Type,
    /// Has a default value that is not null.
    pub defaults: bool,
}

#[derive(Debug, Clone)]
pub struct Type {
    pub shape: Shape,
    pub logical: Option<Logical>,
}

/// What bytes stand for a value.
#[derive(Debug, Clone)]
pub enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum,
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    Record(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logical {
    Decimal { precision: u8, scale: u8 },
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    LocalTimestampMillis,
    LocalTimestampMicros,
}

impl Type {
    fn plain(shape: Shape) -> Type {
        Type { shape, logical: None }
    }

    /// As Avro's error messages call it.
    pub fn name(&self) -> &'static str {
        match &self.shape {
            Shape::Null => "null",
            Shape::Boolean => "boolean",
            Shape::Int => "int",
            Shape::Long => "long",
            Shape::Float => "float",
            Shape::Double => "double",
            Shape::Bytes => "bytes",
            Shape::String => "string",
            Shape::Fixed(_) => "fixed",
            Shape::Enum => "enum",
            Shape::Array(_) => "array",
            Shape::Map(_) => "map",
            Shape::Union(_) => "union",
            Shape::Record(_) => "record",
        }
    }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::user("an Avro schema is not valid").with_detail(what)
}

pub fn parse(text: &str) -> Result<Schema> {
    let json: Value = serde_json::from_str(text)
        // A bare name of a primitive type, as registries may keep it.
        .or_else(|e| match text.trim() {
            name if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic()) => {
                Ok(Value::String(name.to_owned()))
            }
            _ => Err(e),
        })
        .map_err(|e| wrong("it is no JSON").with_source(e))?;
    let mut parser = Parser::default();
    let root = parser.any(&json, "", 0)?;
    Ok(Schema {
        root,
        records: parser.records,
    })
}

#[derive(Default)]
struct Parser {
    records: Vec<Record>,
    named: HashMap<String, Type>,
}

impl Parser {
    fn any(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Type> {
        if depth > MAX_DEPTH {
            return Err(wrong("types are nested too deeply"));
        }
        match json {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(variants) => {
                let variants = variants
                    .iter()
                    .map(|v| self.any(v, namespace, depth + 1))
                    .collect::<Result<Vec<_>>>()?;
                Ok(Type::plain(Shape::Union(variants)))
            }
            Value::Object(object) => {
                let of = object
                    .get("type")
                    .ok_or_else(|| wrong("a type lacks its 'type'"))?;
                let Value::String(name) = of else {
                    return self.any(of, namespace, depth + 1);
                };
                match name.as_str() {
                    "record" | "error" => self.record(json, namespace, depth),
                    "enum" => {
                        list(json, "symbols")?;
                        self.name_it(json, namespace, Type::plain(Shape::Enum))
                    }
                    "fixed" => {
                        let size = json
                            .get("size")
                            .and_then(Value::as_u64)
                            .and_then(|n| usize::try_from(n).ok())
                            .ok_or_else(|| wrong("a fixed lacks its 'size'"))?;
                        let of = Type {
                            shape: Shape::Fixed(size),
                            logical: logical(json),
                        };
                        self.name_it(json, namespace, of)
                    }
                    "array" => {
                        let items = json
                            .get("items")
                            .ok_or_else(|| wrong("an array lacks its 'items'"))?;
                        let items = self.any(items, namespace, depth + 1)?;
                        Ok(Type::plain(Shape::Array(Box::new(items))))
                    }
                    "map" => {
                        let values = json
                            .get("values")
                            .ok_or_else(|| wrong("a map lacks its 'values'"))?;
                        let values = self.any(values, namespace, depth + 1)?;
                        Ok(Type::plain(Shape::Map(Box::new(values))))
                    }
                    name => {
                        let found = self.by_name(name, namespace)?;
                        Ok(Type {
                            logical: logical(json).or(found.logical),
                            ..found
                        })
                    }
                }
            }
            _ => Err(wrong("a type is neither a name, nor an object, nor a union")),
        }
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Type> {
        let shape = match name {
            "null" => Shape::Null,
            "boolean" => Shape::Boolean,
            "int" => Shape::Int,
            "long" => Shape::Long,
            "float" => Shape::Float,
            "double" => Shape::Double,
            "bytes" => Shape::Bytes,
            "string" => Shape::String,
            name => {
                let full = full_name(name, namespace);
                let found = self.named.get(&full).or_else(|| self.named.get(name));
                return found
                    .cloned()
                    .ok_or_else(|| wrong(format!("there is no type '{name}'")));
            }
        };
        Ok(Type::plain(shape))
    }

    fn record(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Type> {
        let number = self.records.len();
        self.records.push(Record::default());
        let (full, inner) = names(json, namespace)?;
        let of = self.name_it(json, namespace, Type::plain(Shape::Record(number)))?;
        let mut fields = Vec::new();
        for field in list(json, "fields")? {
            let name = field
                .get("name")
                .and_then(Value::as_str)
                .ok_or_else(|| wrong(format!("a field of '{full}' lacks its name")))?;
            let of = field
                .get("type")
                .ok_or_else(|| wrong(format!("the field '{name}' lacks its type")))?;
            fields.push(Field {
                name: name.to_owned(),
                of: self.any(of, &inner, depth + 1)?,
                defaults: field.get("default").is_some_and(|default| !default.is_null()),
            });
        }
        self.records[number] = Record { name: full, fields };
        Ok(of)
    }

    fn name_it(&mut self, json: &Value, namespace: &str, of: Type) -> Result<Type> {
        let (full, _) = names(json, namespace)?;
        if self.named.insert(full.clone(), of.clone()).is_some() {
            return Err(wrong(format!("the type '{full}' is declared twice")));
        }
        Ok(of)
    }
}

fn list<'a>(json: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    json.get(key)
        .and_then(Value::as_array)
        .ok_or_else(|| wrong(format!("a type lacks its '{key}'")))
}

/// A type's full name, and the namespace of what is declared within it.
fn names(json: &Value, namespace: &str) -> Result<(String, String)> {
    let name = json
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| wrong("a type lacks its 'name'"))?;
    let namespace = json.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    let full = full_name(name, namespace);
    let inner = full.rsplit_once('.').map_or("", |(before, _)| before).to_owned();
    Ok((full, inner))
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

/// A logical type that counts here; others are as if they were not there, as Avro has it.
fn logical(json: &Value) -> Option<Logical> {
    Some(match json.get("logicalType")?.as_str()? {
        "decimal" => {
            let number = |key: &str| json.get(key).and_then(Value::as_u64);
            Logical::Decimal {
                precision: u8::try_from(number("precision")?).ok()?,
                scale: u8::try_from(number("scale").unwrap_or(0)).ok()?,
            }
        }
        "date" => Logical::Date,
        "time-millis" => Logical::TimeMillis,
        "time-micros" => Logical::TimeMicros,
        "timestamp-millis" => Logical::TimestampMillis,
        "timestamp-micros" => Logical::TimestampMicros,
        "local-timestamp-millis" => Logical::LocalTimestampMillis,
        "local-timestamp-micros" => Logical::LocalTimestampMicros,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_their_namespace_and_records_in_themselves() {
        let schema = parse(
            r#"{"type":"record","name":"a.b.Node","fields":[
                {"name":"value","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}},
                {"name":"other","type":"Id"},
                {"name":"next","type":["null","Node"],"default":null}]}"#,
        )
        .unwrap();
        let Shape::Record(node) = schema.root.shape else {
            panic!("{schema:?}")
        };
        let fields = &schema.records[node].fields;
        assert!(matches!(fields[1].of.shape, Shape::Fixed(16)));
        let Shape::Union(variants) = &fields[2].of.shape else {
            panic!("{schema:?}")
        };
        assert!(matches!(variants[1].shape, Shape::Record(n) if n == node));
        assert!(!fields[2].defaults);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for text in [
            "",
            "{",
            "\"x\"",
            "{}",
            "[1]",
            r#"{"type":"array"}"#,
            r#"{"type":"record","name":"a"}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(matches!(parse("string").unwrap().root.shape, Shape::String));
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
    }
}
