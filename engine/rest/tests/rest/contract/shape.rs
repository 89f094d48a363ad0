//! The shape of a JSON value: names and kinds, without the values.
//!
//! A leaf is its kind: `text`, `integer`, `double`, `boolean`, `null`, several of them with `|` between. An array is
//! `[shape]` of all of its elements together, `[]` where there is none. An object has the shapes of its fields; one
//! that only some elements of an array have ends with `?`. Fields whose names are ids are one field, `<id>`. An array
//! or object that may be null is `{"|null": shape}`.

use serde_json::{Map, Value, json};

const OR_NULL: &str = "|null";

pub fn of(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(number) if number.is_f64() => json!("double"),
        Value::Number(_) => json!("integer"),
        Value::String(text) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => json!("double"),
        Value::String(_) => json!("text"),
        Value::Array(items) => match items.iter().map(of).reduce(both) {
            None => json!([]),
            Some(item) => json!([item]),
        },
        Value::Object(fields) => {
            let mut shapes = Map::new();
            for (name, value) in fields {
                let shape = of(value);
                let name = if is_id(name) { "<id>" } else { name };
                let shape = match shapes.remove(name) {
                    None => shape,
                    Some(other) => both(other, shape),
                };
                shapes.insert(name.to_owned(), shape);
            }
            Value::Object(shapes)
        }
    }
}

fn is_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What two values of one place have in common.
fn both(one: Value, other: Value) -> Value {
    if one == other {
        return one;
    }
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => objects(one, other),
        (Value::Array(mut one), Value::Array(mut other)) => match (one.pop(), other.pop()) {
            (Some(one), Some(other)) => json!([both(one, other)]),
            (one, other) => json!(one.or(other).into_iter().collect::<Vec<_>>()),
        },
        (Value::String(one), Value::String(other)) => leaves(&one, &other),
        (Value::String(_), shape) | (shape, Value::String(_)) => json!({ OR_NULL: shape }),
        (one, other) => panic!("two kinds at one place: {one} and {other}"),
    }
}

fn leaves(one: &str, other: &str) -> Value {
    let mut kinds: Vec<&str> = one.split('|').chain(other.split('|')).collect();
    kinds.sort_unstable();
    kinds.dedup();
    json!(kinds.join("|"))
}

fn objects(mut one: Map<String, Value>, mut other: Map<String, Value>) -> Value {
    if let Some(shape) = one.remove(OR_NULL) {
        let other = other.remove(OR_NULL).unwrap_or(Value::Object(other));
        return json!({ OR_NULL: both(shape, other) });
    }
    if other.contains_key(OR_NULL) {
        return objects(other, one);
    }
    let mut shapes = Map::new();
    for (name, shape) in one {
        let bare = name.trim_end_matches('?').to_owned();
        let optional = format!("{bare}?");
        match other.remove(&bare) {
            Some(same) if bare == name => shapes.insert(bare, both(shape, same)),
            Some(same) => shapes.insert(optional, both(shape, same)),
            None => match other.remove(&optional) {
                Some(same) => shapes.insert(optional, both(shape, same)),
                None => shapes.insert(optional, shape),
            },
        };
    }
    for (name, shape) in other {
        shapes.insert(format!("{}?", name.trim_end_matches('?')), shape);
    }
    Value::Object(shapes)
}

/// Where a shape is not the one that is wanted, a line each.
pub fn differences(place: &str, wanted: &Value, found: &Value) -> Vec<String> {
    match (wanted, found) {
        (wanted, found) if wanted == found => Vec::new(),
        (Value::Object(wanted), Value::Object(found)) => {
            let missing = wanted.iter().filter(|(name, _)| !found.contains_key(*name));
            let missing = missing.map(|(name, shape)| format!("{place}.{name} is missing: {shape}"));
            let more = found.iter().filter(|(name, _)| !wanted.contains_key(*name));
            let more = more.map(|(name, shape)| format!("{place}.{name} is too much: {shape}"));
            let same = wanted
                .iter()
                .filter_map(|(name, shape)| Some((name, shape, found.get(name)?)));
            let other =
                same.flat_map(|(name, wanted, found)| differences(&format!("{place}.{name}"), wanted, found));
            missing.chain(more).chain(other).collect()
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == 1 && found.len() == 1 => {
            differences(&format!("{place}[]"), &wanted[0], &found[0])
        }
        (wanted, found) => vec![format!("{place} is {found}, not {wanted}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_together() {
        let value = json!([{"a": 1, "b": null}, {"a": "NaN", "b": {"c": 1.5}, "d": true}]);
        assert_eq!(
            of(&value),
            json!([{"a": "double|integer", "b": {"|null": {"c": "double"}}, "d?": "boolean"}])
        );
    }

    #[test]
    fn ids_are_one_field() {
        let value = json!({"0123456789abcdef0123456789abcdef": {"a": []}, "f123456789abcdef0123456789abcdef": {"a": [1]}});
        assert_eq!(of(&value), json!({"<id>": {"a": ["integer"]}}));
    }

    #[test]
    fn what_differs_is_named() {
        let wanted = of(&json!({"a": [{"b": 1, "c": 2}], "d": "x"}));
        let found = of(&json!({"a": [{"b": "1", "e": 2}], "d": null}));
        assert_eq!(
            differences("$", &wanted, &found),
            [
                "$.a[].c is missing: \"integer\"",
                "$.a[].e is too much: \"integer\"",
                "$.a[].b is \"text\", not \"integer\"",
                "$.d is \"null\", not \"text\""
            ]
        );
        assert!(differences("$", &wanted, &wanted).is_empty());
    }
}
