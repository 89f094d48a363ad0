//! Functions over JSON, as SQL:2016 and Flink have them.
//!
//! Names that begin with a dollar take the clauses of their function as arguments: a behaviour is
//! the text of its clause (`DEFAULT` has its value behind it), the type of RETURNING is that of a
//! NULL.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, ListBuilder, StringBuilder};
use arrow::datatypes as a;
use base64::Engine;
use indexmap::IndexMap;
use millrace_core::{Error, Result};

use super::support::{
    any_nullable, is_null_type, kind, literal_string, nullable, strict, string, string_kind, takes, to_kind,
    try_primitives, try_strings,
};
use crate::cast::temporal::moment;
use crate::function::{self, Call, Function, Resolution};
use crate::text::json::Json;
use crate::text::json_path::{Fault, Missing, Mode, Path};
use crate::text::{decimal, timestamp};
use crate::value::Value;
use crate::{DataType, Expr, Scalar, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager(
        "JSON_VALUE",
        VALUE,
        |args| plain(args, "$JSON_VALUE", &[]),
        misplaced,
    ),
    Function::eager("$JSON_VALUE", VALUE, value_type, value).fallible(),
    Function::eager(
        "JSON_QUERY",
        QUERY,
        |args| plain(args, "$JSON_QUERY", &["WITHOUT"]),
        misplaced,
    ),
    Function::eager("$JSON_QUERY", QUERY, query_type, query).fallible(),
    Function::eager("JSON_EXISTS", EXISTS, exists_plain, misplaced),
    Function::eager("$JSON_EXISTS", EXISTS, exists_type, exists).fallible(),
    Function::eager(
        "JSON_OBJECT",
        OBJECT,
        |args| members(args, "$JSON_OBJECT", "NULL"),
        misplaced,
    ),
    Function::eager("$JSON_OBJECT", OBJECT, object_type, object).fallible(),
    Function::eager(
        "JSON_ARRAY",
        ARRAY,
        |args| members(args, "$JSON_ARRAY", "ABSENT"),
        misplaced,
    ),
    Function::eager("$JSON_ARRAY", ARRAY, array_type, array).fallible(),
    Function::eager("JSON_STRING", "JSON_STRING(any)", string_type, to_string).fallible(),
    Function::eager(
        "JSON",
        "JSON(STRING) within JSON_OBJECT or JSON_ARRAY",
        json_type,
        misplaced,
    )
    .fallible(),
    Function::eager("IS JSON", "STRING IS JSON", is_type, |call| is(call, |_| true)),
    Function::eager("IS JSON VALUE", "STRING IS JSON VALUE", is_type, |call| {
        is(call, |_| true)
    }),
    Function::eager("IS JSON OBJECT", "STRING IS JSON OBJECT", is_type, |call| {
        is(call, |json| matches!(json, Json::Object(_)))
    }),
    Function::eager("IS JSON ARRAY", "STRING IS JSON ARRAY", is_type, |call| {
        is(call, |json| matches!(json, Json::Array(_)))
    }),
    Function::eager("IS JSON SCALAR", "STRING IS JSON SCALAR", is_type, |call| {
        is(call, Json::is_scalar)
    }),
];

const VALUE: &str = "JSON_VALUE(STRING, STRING path [RETURNING STRING, BOOLEAN, INT or DOUBLE] \
     [NULL, ERROR or DEFAULT value ON EMPTY] [... ON ERROR])";
const QUERY: &str = "JSON_QUERY(STRING, STRING path [RETURNING STRING or ARRAY<STRING>] \
     [WITHOUT or WITH [CONDITIONAL] WRAPPER] [NULL, ERROR, EMPTY ARRAY or EMPTY OBJECT ON EMPTY] [... ON ERROR])";
const EXISTS: &str = "JSON_EXISTS(STRING, STRING path [TRUE, FALSE, UNKNOWN or ERROR ON ERROR])";

const OBJECT: &str = "JSON_OBJECT([[KEY] STRING VALUE any, ...] [NULL ON NULL | ABSENT ON NULL])";
const ARRAY: &str = "JSON_ARRAY([any, ...] [NULL ON NULL | ABSENT ON NULL])";

fn text(value: &str) -> Expr {
    let data_type = DataType::not_null(TypeKind::Char(value.len().max(1) as u32));
    Expr::literal(Scalar::String(value.to_owned()), data_type)
}

fn returning(data_type: DataType) -> Expr {
    Expr::literal(Scalar::Null, data_type)
}

fn rewritten(name: &str, args: Vec<Expr>) -> Resolution {
    match function::call(name, args) {
        Ok(expr) => Resolution::Rewritten(expr),
        Err(error) => Resolution::Refused(error),
    }
}

/// Without clauses.
fn plain(args: &mut Vec<Expr>, name: &str, more: &[&str]) -> Resolution {
    if args.len() != 2 {
        return Resolution::Mismatch;
    }
    let mut args = std::mem::take(args);
    args.push(returning(DataType::string()));
    args.extend(more.iter().map(|m| text(m)));
    if name == "$JSON_VALUE" {
        let none = || returning(DataType::string());
        args.extend([text("NULL"), none(), text("NULL"), none()]);
    } else {
        args.extend([text("NULL"), text("NULL")]);
    }
    rewritten(name, args)
}

/// Without a clause about NULLs.
fn members(args: &mut Vec<Expr>, name: &str, on_null: &str) -> Resolution {
    args.insert(0, text(on_null));
    rewritten(name, std::mem::take(args))
}

fn exists_plain(args: &mut Vec<Expr>) -> Resolution {
    if args.len() != 2 {
        return Resolution::Mismatch;
    }
    let mut args = std::mem::take(args);
    args.push(text("FALSE"));
    rewritten("$JSON_EXISTS", args)
}

/// Refuses a literal path that is not built before anything runs.
fn checked(path: &Expr, otherwise: Resolution) -> Resolution {
    match literal_string(path).map(Path::parse) {
        Some(Err(Fault::Unsupported(what))) => Resolution::Refused(Error::unsupported(what)),
        _ => otherwise,
    }
}

fn value_type(args: &mut Vec<Expr>) -> Resolution {
    let [json, path, returning, on_empty, empty, on_error, error] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if !string(json) || !string(path) {
        return Resolution::Mismatch;
    }
    let to = kind(returning).clone();
    for (clause, default) in [(&on_empty, &empty), (&on_error, &error)] {
        if literal_string(clause) == Some("DEFAULT") && is_null_type(default) {
            return Resolution::Refused(
                Error::user("the DEFAULT of JSON_VALUE is an untyped NULL").with_hint("write NULL ON EMPTY"),
            );
        }
    }
    let known = matches!(
        to,
        TypeKind::Char(_) | TypeKind::Varchar(_) | TypeKind::Boolean | TypeKind::Int | TypeKind::Double
    );
    if !known {
        return Resolution::Refused(Error::user(format!("JSON_VALUE cannot return {to}")).with_hint(VALUE));
    }
    for default in [empty, error] {
        let fits = *kind(default) == to || is_null_type(default) || returning.data_type().is_string();
        if !fits || !to_kind(default, &to) {
            return Resolution::Refused(Error::user(format!(
                "the DEFAULT of JSON_VALUE is of type {} instead of {to}",
                kind(default)
            )));
        }
    }
    checked(&args[1], nullable(to))
}

fn query_type(args: &mut Vec<Expr>) -> Resolution {
    let [json, path, returning, _, empty, error] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if !string(json) || !string(path) {
        return Resolution::Mismatch;
    }
    let to = kind(returning).clone();
    let is_array = matches!(&to, TypeKind::Array(element) if element.is_string());
    if !is_array && !returning.data_type().is_string() {
        return Resolution::Refused(Error::user(format!("JSON_QUERY cannot return {to}")).with_hint(QUERY));
    }
    let object = |arg: &Expr| literal_string(arg) == Some("EMPTY OBJECT");
    if is_array && (object(empty) || object(error)) {
        return Resolution::Refused(Error::user(format!(
            "JSON_QUERY cannot return an EMPTY OBJECT as {to}"
        )));
    }
    checked(&args[1], nullable(to))
}

fn exists_type(args: &mut Vec<Expr>) -> Resolution {
    let [json, path, _] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if !string(json) || !string(path) {
        return Resolution::Mismatch;
    }
    checked(&args[1], nullable(TypeKind::Boolean))
}

fn is_type(args: &mut Vec<Expr>) -> Resolution {
    if takes(args, &[string]) {
        Resolution::Type(DataType::not_null(TypeKind::Boolean))
    } else {
        Resolution::Mismatch
    }
}

fn json_type(args: &mut Vec<Expr>) -> Resolution {
    if takes(args, &[string]) {
        strict(string_kind(), args)
    } else {
        Resolution::Mismatch
    }
}

fn misplaced(_: &Call<'_>) -> Result<ArrayRef> {
    Err(Error::user(
        "JSON() stands as a value of JSON_OBJECT or JSON_ARRAY only",
    ))
}

/// Whether a value can be made JSON.
fn convertible(data_type: &DataType) -> bool {
    match &data_type.kind {
        TypeKind::Null
        | TypeKind::Date
        | TypeKind::Time(_)
        | TypeKind::IntervalYearMonth
        | TypeKind::IntervalDaySecond
        | TypeKind::Multiset(_) => false,
        TypeKind::Array(element) => convertible(element),
        TypeKind::Map(key, value) => key.is_string() && convertible(value),
        TypeKind::Row(fields) => fields.iter().all(|f| convertible(&f.data_type)),
        _ => true,
    }
}

/// A value, and behind it whether it is JSON already: made by a function in its place.
fn member(value: Expr) -> std::result::Result<[Expr; 2], Error> {
    if !convertible(value.data_type()) {
        return Err(
            Error::user(format!("a value of type {} cannot be made JSON", kind(&value)))
                .with_hint("CAST it to STRING"),
        );
    }
    let (value, raw) = match value {
        Expr::Call {
            function, mut args, ..
        } if function == "JSON" => (args.remove(0), true),
        Expr::Call { ref function, .. } if function == "$JSON_OBJECT" || function == "$JSON_ARRAY" => {
            (value, true)
        }
        value => (value, false),
    };
    let raw = Expr::literal(Scalar::Boolean(raw), DataType::not_null(TypeKind::Boolean));
    Ok([value, raw])
}

/// From the clause and pairs of key and value to the clause and triples.
fn object_type(args: &mut Vec<Expr>) -> Resolution {
    let mut given = std::mem::take(args).into_iter();
    args.extend(given.next());
    while let (Some(mut key), Some(value)) = (given.next(), given.next()) {
        let null = matches!(
            &key,
            Expr::Literal {
                value: Scalar::Null,
                ..
            }
        );
        if null || !string(&mut key) {
            return Resolution::Refused(Error::user("a key of JSON_OBJECT is a text, and not NULL"));
        }
        match member(value) {
            Ok(member) => args.extend([key].into_iter().chain(member)),
            Err(error) => return Resolution::Refused(error),
        }
    }
    Resolution::Type(DataType::not_null(string_kind()))
}

/// From the clause and values to the clause and pairs.
fn array_type(args: &mut Vec<Expr>) -> Resolution {
    let mut given = std::mem::take(args).into_iter();
    args.extend(given.next());
    for value in given {
        match member(value) {
            Ok(member) => args.extend(member),
            Err(error) => return Resolution::Refused(error),
        }
    }
    Resolution::Type(DataType::not_null(string_kind()))
}

fn string_type(args: &mut Vec<Expr>) -> Resolution {
    let [value] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    let is_nullable = any_nullable(args);
    match member(value.clone()) {
        Ok(member) => {
            *args = member.into();
            Resolution::Type(DataType::string().with_nullable(is_nullable))
        }
        Err(error) => Resolution::Refused(error),
    }
}

/// What a path gives in a text.
enum Found {
    /// Neither JSON's null nor anything, or what is there.
    Value(Mode, Option<Json>),
    Error(&'static str),
}

/// Paths by their text, for one call over a batch.
#[derive(Default)]
struct Paths(HashMap<String, std::result::Result<Path, Fault>>);

impl Paths {
    fn find(&mut self, json: &str, path: &str) -> Result<Found> {
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), Path::parse(path));
        }
        let path = match self.0.get(path) {
            Some(Ok(path)) => path,
            Some(Err(Fault::Unsupported(what))) => return Err(Error::unsupported(what)),
            _ => return Ok(Found::Error("the path is invalid")),
        };
        let found = match (Json::parse(json), path.mode) {
            (Some(json), mode) => match (path.read(&json), mode) {
                (Ok(Json::Null), _) => None,
                (Ok(value), _) => Some(value),
                (Err(Missing), Mode::Lax) => None,
                (Err(Missing), Mode::Strict) => return Ok(Found::Error("there is nothing at the path")),
            },
            (None, Mode::Lax) => None,
            (None, Mode::Strict) => return Ok(Found::Error("the text is not JSON")),
        };
        Ok(Found::Value(path.mode, found))
    }
}

/// A clause of a call, the same for all rows.
fn clause<'a>(call: &'a Call<'_>, index: usize) -> Result<&'a str> {
    call.args[index]
        .strings()
        .get(0)
        .ok_or_else(|| Error::internal("a clause of a JSON function is no literal"))
}

fn failed(function: &str, why: &str) -> Error {
    Error::user(format!("{function} found no value")).with_detail(why.to_owned())
}

/// What JSON_VALUE gives for a row.
enum Chosen {
    Json(Json),
    Null,
    /// The default in the argument of this index.
    Default(usize),
}

fn choose(call: &Call<'_>, found: Found) -> Result<Chosen> {
    let by = |index: usize, why: &str| match clause(call, index)? {
        "NULL" => Ok(Chosen::Null),
        "DEFAULT" => Ok(Chosen::Default(index + 1)),
        _ => Err(failed("JSON_VALUE", why)),
    };
    match found {
        Found::Value(_, Some(json)) if json.is_scalar() => Ok(Chosen::Json(json)),
        Found::Value(Mode::Lax, _) => by(3, "there is no scalar value at the path"),
        Found::Value(Mode::Strict, _) => by(5, "there is no scalar value at the path"),
        Found::Error(why) => by(5, why),
    }
}

fn value(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, paths) = (call.args[0].strings(), call.args[1].strings());
    let mut cache = Paths::default();
    let mut chosen = |row: usize| match (texts.get(row), paths.get(row)) {
        (Some(text), Some(path)) => choose(call, cache.find(text, path)?),
        _ => Ok(Chosen::Null),
    };
    let wrong = |json: &Json| {
        let mut text = Vec::new();
        json.write(&mut text);
        Error::user(format!(
            "JSON_VALUE cannot return a value as {}",
            call.data_type.kind
        ))
        .with_detail(String::from_utf8_lossy(&text).into_owned())
    };
    match call.data_type.kind {
        TypeKind::Int => try_primitives::<a::Int32Type>(call.rows, |row| match chosen(row)? {
            Chosen::Json(Json::Integer(digits)) if digits.parse::<i32>().is_ok() => Ok(digits.parse().ok()),
            Chosen::Json(other) => Err(wrong(&other)),
            Chosen::Null => Ok(None),
            Chosen::Default(index) => Ok(call.args[index].primitives::<a::Int32Type>().get(row)),
        }),
        TypeKind::Double => try_primitives::<a::Float64Type>(call.rows, |row| match chosen(row)? {
            Chosen::Json(Json::Decimal(digits)) => Ok(digits.parse().ok()),
            Chosen::Json(other) => Err(wrong(&other)),
            Chosen::Null => Ok(None),
            Chosen::Default(index) => Ok(call.args[index].primitives::<a::Float64Type>().get(row)),
        }),
        TypeKind::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(call.rows);
            for row in 0..call.rows {
                builder.append_option(match chosen(row)? {
                    Chosen::Json(Json::Boolean(value)) => Some(value),
                    Chosen::Json(other) => return Err(wrong(&other)),
                    Chosen::Null => None,
                    Chosen::Default(index) => call.args[index].booleans().get(row),
                });
            }
            Ok(Arc::new(builder.finish()))
        }
        _ => try_strings(call.rows, |row, out| match chosen(row)? {
            Chosen::Json(json) => {
                plain_text(&json, out);
                Ok(true)
            }
            Chosen::Null => Ok(false),
            Chosen::Default(index) => Ok(call.args[index].strings().get(row).is_some_and(|text| {
                out.extend_from_slice(text.as_bytes());
                true
            })),
        }),
    }
}

/// A string without quotes, all else as it is in JSON.
fn plain_text(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::String(text) => out.extend_from_slice(text.as_bytes()),
        other => other.write(out),
    }
}

/// What JSON_QUERY gives for a row, if not NULL.
fn queried(call: &Call<'_>, found: Found) -> Result<Option<Json>> {
    let by = |index: usize, why: &str| match clause(call, index)? {
        "NULL" => Ok(None),
        "EMPTY ARRAY" => Ok(Some(Json::Array(Vec::new()))),
        "EMPTY OBJECT" => Ok(Some(Json::Object(IndexMap::new()))),
        _ => Err(failed("JSON_QUERY", why)),
    };
    const NONE: &str = "there is neither an array nor an object at the path";
    match found {
        Found::Value(mode, value) => {
            let wrapped = match (clause(call, 3)?, value) {
                (_, None) => None,
                ("UNCONDITIONAL", Some(value)) => Some(Json::Array(vec![value])),
                ("CONDITIONAL", Some(value)) if !matches!(value, Json::Array(_)) => {
                    Some(Json::Array(vec![value]))
                }
                (_, value) => value,
            };
            match (wrapped.filter(|json| !json.is_scalar()), mode) {
                (Some(json), _) => Ok(Some(json)),
                (None, Mode::Lax) => by(4, NONE),
                (None, Mode::Strict) => by(5, NONE),
            }
        }
        Found::Error(why) => by(5, why),
    }
}

fn query(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, paths) = (call.args[0].strings(), call.args[1].strings());
    let mut cache = Paths::default();
    let mut result = |row: usize| match (texts.get(row), paths.get(row)) {
        (Some(text), Some(path)) => queried(call, cache.find(text, path)?),
        _ => Ok(None),
    };
    if call.data_type.is_string() {
        return try_strings(call.rows, |row, out| {
            let json = result(row)?;
            Ok(json.is_some_and(|json| {
                json.write(out);
                true
            }))
        });
    }
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        let elements = match result(row)? {
            Some(Json::Array(elements)) => elements,
            // An object is an error, and what that gives is no object.
            Some(_) if clause(call, 5)? == "EMPTY ARRAY" => Vec::new(),
            Some(_) if clause(call, 5)? == "ERROR" => {
                return Err(failed("JSON_QUERY", "there is no array at the path"));
            }
            _ => {
                builder.append(false);
                continue;
            }
        };
        for element in elements {
            let mut text = Vec::new();
            plain_text(&element, &mut text);
            let text = String::from_utf8_lossy(&text);
            builder
                .values()
                .append_option((element != Json::Null).then_some(text));
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

fn exists(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, paths) = (call.args[0].strings(), call.args[1].strings());
    let mut cache = Paths::default();
    let mut builder = BooleanBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        builder.append_option(match (texts.get(row), paths.get(row)) {
            (Some(text), Some(path)) => match cache.find(text, path)? {
                Found::Value(_, value) => Some(value.is_some()),
                Found::Error(why) => match clause(call, 2)? {
                    "TRUE" => Some(true),
                    "FALSE" => Some(false),
                    "UNKNOWN" => None,
                    _ => return Err(failed("JSON_EXISTS", why)),
                },
            },
            _ => None,
        });
    }
    Ok(Arc::new(builder.finish()))
}

fn is(call: &Call<'_>, holds: impl Fn(&Json) -> bool) -> Result<ArrayRef> {
    let texts = call.args[0].strings();
    super::support::booleans(call.rows, |row| {
        Some(
            texts
                .get(row)
                .and_then(Json::parse)
                .is_some_and(|json| holds(&json)),
        )
    })
}

/// The value of an argument as JSON; none for NULL.
fn json_of(value: &Value, data_type: &DataType, raw: &Value, row: usize) -> Result<Option<Json>> {
    if value.is_null(row) {
        return Ok(None);
    }
    if raw.booleans().get(0) == Some(true) {
        let text = value.strings().get(row).unwrap_or_default();
        return match Json::parse(text) {
            Some(json) => Ok(Some(json)),
            None => Err(Error::user("the argument of JSON() is not JSON").with_detail(text.to_owned())),
        };
    }
    convert(value.inner(), data_type, value.index(row)).map(Some)
}

fn convert(array: &ArrayRef, data_type: &DataType, row: usize) -> Result<Json> {
    if array.data_type() == &a::DataType::Null || array.is_null(row) {
        return Ok(Json::Null);
    }
    let iso = |precision: u8, zone: &str| {
        let mut text = Vec::new();
        timestamp::write(moment(array, row, precision), b'T', precision, &mut text);
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if precision > 0 {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        Json::String(text + zone)
    };
    let number = |digits: i64| Json::Integer(digits.to_string());
    Ok(match &data_type.kind {
        TypeKind::Char(_) | TypeKind::Varchar(_) => {
            Json::String(array.as_string::<i32>().value(row).to_owned())
        }
        TypeKind::Boolean => Json::Boolean(array.as_boolean().value(row)),
        TypeKind::TinyInt => number(array.as_primitive::<a::Int8Type>().value(row).into()),
        TypeKind::SmallInt => number(array.as_primitive::<a::Int16Type>().value(row).into()),
        TypeKind::Int => number(array.as_primitive::<a::Int32Type>().value(row).into()),
        TypeKind::BigInt => number(array.as_primitive::<a::Int64Type>().value(row)),
        TypeKind::Float => Json::double(array.as_primitive::<a::Float32Type>().value(row).into()),
        TypeKind::Double => Json::double(array.as_primitive::<a::Float64Type>().value(row)),
        TypeKind::Decimal { scale, .. } => {
            let mut text = Vec::new();
            decimal::write(
                array.as_primitive::<a::Decimal128Type>().value(row),
                *scale,
                &mut text,
            );
            Json::decimal(&String::from_utf8_lossy(&text))
        }
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
            let bytes = array.as_binary::<i32>().value(row);
            Json::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        TypeKind::Timestamp(precision) => iso(*precision, ""),
        TypeKind::TimestampLtz(precision) => iso(*precision, "Z"),
        TypeKind::Array(element) => {
            let values = array.as_list::<i32>().value(row);
            let elements = (0..values.len()).map(|i| convert(&values, element, i));
            Json::Array(elements.collect::<Result<_>>()?)
        }
        TypeKind::Map(_, value) => {
            let entries = array.as_map().value(row);
            let keys = entries.column(0).as_string::<i32>();
            let fields = (0..entries.len()).map(|i| {
                let value = convert(entries.column(1), value, i)?;
                Ok((keys.value(i).to_owned(), value))
            });
            Json::Object(fields.collect::<Result<_>>()?)
        }
        TypeKind::Row(fields) => {
            let columns = array.as_struct().columns();
            let fields = fields.iter().zip(columns).map(|(field, column)| {
                let value = convert(column, &field.data_type, row)?;
                Ok((field.name.clone(), value))
            });
            Json::Object(fields.collect::<Result<_>>()?)
        }
        other => return Err(Error::internal(format!("no JSON for {other}"))),
    })
}

fn object(call: &Call<'_>) -> Result<ArrayRef> {
    let absent = clause(call, 0)? == "ABSENT";
    try_strings(call.rows, |row, out| {
        let mut fields = IndexMap::new();
        for (i, triple) in call.args[1..].chunks_exact(3).enumerate() {
            let Some(key) = triple[0].strings().get(row) else {
                return Err(Error::user("a key of JSON_OBJECT is NULL"));
            };
            match json_of(&triple[1], &call.arg_types[2 + 3 * i], &triple[2], row)? {
                None if absent => {}
                value => {
                    fields.insert(key.to_owned(), value.unwrap_or(Json::Null));
                }
            }
        }
        Json::Object(fields).write(out);
        Ok(true)
    })
}

fn array(call: &Call<'_>) -> Result<ArrayRef> {
    let absent = clause(call, 0)? == "ABSENT";
    try_strings(call.rows, |row, out| {
        let mut elements = Vec::new();
        for (i, pair) in call.args[1..].chunks_exact(2).enumerate() {
            match json_of(&pair[0], &call.arg_types[1 + 2 * i], &pair[1], row)? {
                None if absent => {}
                value => elements.push(value.unwrap_or(Json::Null)),
            }
        }
        Json::Array(elements).write(out);
        Ok(true)
    })
}

fn to_string(call: &Call<'_>) -> Result<ArrayRef> {
    try_strings(call.rows, |row, out| {
        let json = json_of(&call.args[0], &call.arg_types[0], &call.args[1], row)?;
        Ok(json.is_some_and(|json| {
            json.write(out);
            true
        }))
    })
}
