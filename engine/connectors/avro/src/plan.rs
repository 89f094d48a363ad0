//! How records of a writer's schema are read into columns: Avro's schema resolution (specification,
//! "Schema Resolution"), with the schema that Flink derives from the columns as the reader's.

use millrace_core::{Error, Result};
use millrace_expr::{DataType, TypeKind};

use crate::schema::{Logical, Schema, Shape, Type};

/// Columns within one another at most.
const MAX_DEPTH: usize = 100;

/// What is read, and so what a column gets.
#[derive(Debug)]
pub enum Plan {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    /// Bytes with their length before them, texts too.
    Bytes,
    Union(Vec<Plan>),
    Array(Box<Plan>),
    Map(Box<Plan>),
    Record(RecordPlan),
    /// A variant of a union that the column cannot hold.
    Misfit(String),
}

#[derive(Debug, Default)]
pub struct RecordPlan {
    pub fields: Vec<FieldPlan>,
    /// Columns that the writer does not have: they are null.
    pub missing: Vec<usize>,
}

/// One of the writer's fields, in its order.
#[derive(Debug)]
pub enum FieldPlan {
    Read(usize, Plan),
    Skip(Type),
}

/// A plan for a record into columns with these names and types.
pub fn of_record<'a>(schema: &Schema, columns: &[(&'a str, &'a DataType)]) -> Result<RecordPlan> {
    // Of a union of null and a record, the record counts.
    let root = match &schema.root.shape {
        Shape::Union(variants) => match variants.iter().find(|v| matches!(v.shape, Shape::Record(_))) {
            Some(_) => {
                return Err(
                    Error::unsupported("a writer's schema that is a union at its root")
                        .with_hint("write records, not unions"),
                );
            }
            None => &schema.root,
        },
        _ => &schema.root,
    };
    match root.shape {
        Shape::Record(number) => record(schema, number, columns, 0),
        _ => Err(misfit(root.name(), "record")),
    }
}

fn misfit(found: &str, expected: &str) -> Error {
    Error::user("the writer's Avro schema does not fit the table")
        .with_detail(format!("found {found}, expecting {expected}"))
}

fn record(schema: &Schema, number: usize, columns: &[(&str, &DataType)], depth: usize) -> Result<RecordPlan> {
    let fields = &schema.records[number].fields;
    let mut plan = RecordPlan::default();
    for field in fields {
        plan.fields
            .push(match columns.iter().position(|(name, _)| *name == field.name) {
                None => FieldPlan::Skip(field.of.clone()),
                Some(column) => {
                    let of = any(schema, &field.of, columns[column].1, depth + 1).map_err(|e| {
                        let detail = e.detail().unwrap_or_default().to_owned();
                        e.with_detail(format!("field '{}': {detail}", field.name))
                    })?;
                    FieldPlan::Read(column, of)
                }
            });
    }
    for (column, (name, data_type)) in columns.iter().enumerate() {
        if fields.iter().any(|field| field.name == *name) {
            continue;
        }
        if !data_type.nullable {
            return Err(Error::user("the writer's Avro schema does not fit the table")
                .with_detail(format!(
                    "the record '{}' is missing the required field '{name}'",
                    schema.records[number].name
                ))
                .with_hint("declare the column without NOT NULL: it is null then"));
        }
        plan.missing.push(column);
    }
    Ok(plan)
}

fn any(schema: &Schema, of: &Type, data_type: &DataType, depth: usize) -> Result<Plan> {
    if depth > MAX_DEPTH {
        return Err(Error::user("the writer's Avro schema is nested too deeply"));
    }
    if let Shape::Union(variants) = &of.shape {
        let variant = |of| match any(schema, of, data_type, depth + 1) {
            Ok(plan) => plan,
            Err(e) => Plan::Misfit(e.detail().unwrap_or(e.message()).to_owned()),
        };
        let plans: Vec<Plan> = variants.iter().map(variant).collect();
        if plans.iter().all(|p| matches!(p, Plan::Misfit(_))) {
            return Err(misfit("union", &data_type.to_string()));
        }
        return Ok(Plan::Union(plans));
    }
    let wrong = || Err(misfit(of.name(), &expected(data_type)));
    check_logical(of, data_type)?;
    Ok(match (&of.shape, &data_type.kind) {
        (Shape::Null, _) if data_type.nullable => Plan::Null,
        (Shape::Boolean, TypeKind::Boolean) => Plan::Boolean,
        (
            Shape::Int,
            TypeKind::TinyInt
            | TypeKind::SmallInt
            | TypeKind::Int
            | TypeKind::Date
            | TypeKind::Time(_)
            | TypeKind::BigInt
            | TypeKind::Timestamp(_)
            | TypeKind::TimestampLtz(_)
            | TypeKind::Float
            | TypeKind::Double,
        ) => Plan::Int,
        (
            Shape::Long,
            TypeKind::BigInt
            | TypeKind::Timestamp(_)
            | TypeKind::TimestampLtz(_)
            | TypeKind::Float
            | TypeKind::Double,
        ) => Plan::Long,
        (Shape::Float, TypeKind::Float | TypeKind::Double) => Plan::Float,
        (Shape::Double, TypeKind::Double) => Plan::Double,
        (
            Shape::Bytes | Shape::String,
            TypeKind::Char(_)
            | TypeKind::Varchar(_)
            | TypeKind::Binary(_)
            | TypeKind::Varbinary(_)
            | TypeKind::Decimal { .. },
        ) => Plan::Bytes,
        (Shape::Array(items), TypeKind::Array(element)) => {
            Plan::Array(Box::new(any(schema, items, element, depth + 1)?))
        }
        (Shape::Map(values), TypeKind::Map(key, value)) if key.is_string() => {
            Plan::Map(Box::new(any(schema, values, value, depth + 1)?))
        }
        (Shape::Map(values), TypeKind::Multiset(element)) if element.is_string() => {
            let count = DataType::not_null(TypeKind::Int);
            Plan::Map(Box::new(any(schema, values, &count, depth + 1)?))
        }
        (Shape::Record(number), TypeKind::Row(fields)) => {
            let columns: Vec<(&str, &DataType)> =
                fields.iter().map(|f| (f.name.as_str(), &f.data_type)).collect();
            Plan::Record(record(schema, *number, &columns, depth + 1)?)
        }
        _ => return wrong(),
    })
}

/// Flink reads what a number means from the column alone. Where the writer says that it means something
/// else the value would be wrong, so it is refused.
fn check_logical(of: &Type, data_type: &DataType) -> Result<()> {
    let Some(logical) = of.logical else { return Ok(()) };
    let differs = match (logical, &data_type.kind) {
        (
            Logical::TimestampMillis | Logical::LocalTimestampMillis,
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p),
        ) => *p > 3,
        (
            Logical::TimestampMicros | Logical::LocalTimestampMicros,
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p),
        ) => *p <= 3,
        (Logical::TimeMicros, TypeKind::Time(_)) => true,
        (Logical::Decimal { scale, .. }, TypeKind::Decimal { scale: column, .. }) => scale != *column,
        _ => false,
    };
    if !differs {
        return Ok(());
    }
    Err(Error::user("the writer's Avro schema does not fit the table")
        .with_detail(format!("{logical:?} cannot be read as {data_type}"))
        .with_hint(match logical {
            Logical::Decimal { precision, scale } => {
                format!("declare the column DECIMAL({precision}, {scale})")
            }
            _ => "declare the column with the writer's precision, or BIGINT to compute with".to_owned(),
        }))
}

/// The Avro type of a column.
fn expected(data_type: &DataType) -> String {
    let name = match &data_type.kind {
        TypeKind::Null => "null",
        TypeKind::Boolean => "boolean",
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::Date | TypeKind::Time(_) => "int",
        TypeKind::BigInt | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => "long",
        TypeKind::Float => "float",
        TypeKind::Double => "double",
        TypeKind::Char(_) | TypeKind::Varchar(_) => "string",
        TypeKind::Binary(_) | TypeKind::Varbinary(_) | TypeKind::Decimal { .. } => "bytes",
        TypeKind::Array(_) => "array",
        TypeKind::Map(..) | TypeKind::Multiset(_) => "map",
        TypeKind::Row(_) => "record",
        TypeKind::IntervalYearMonth | TypeKind::IntervalDaySecond => "nothing",
    };
    match data_type.nullable {
        true => format!("null or {name} (column of type {data_type})"),
        false => format!("{name} (column of type {data_type})"),
    }
}
