//! `json` on made-up input: against serde_json, round trips, and bytes of any kind.

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use millrace_expr::{DataType, Field, RowType, TypeKind};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::*;

/// Numbers that serde_json reads exactly: it is off by a bit with others.
fn exact() -> impl Strategy<Value = f64> {
    (any::<i32>(), 0u32..8).prop_map(|(n, shift)| f64::from(n) / f64::from(1u32 << shift))
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        exact().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-e\"\\\\é]{0,3}", inner), 0..5)
                .prop_map(|entries| Value::from(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn columns() -> RowType {
    RowType::new(vec![
        Field::new("id", DataType::bigint()),
        Field::new("name", DataType::string()),
        Field::new("value", DataType::double()),
        Field::new(
            "tags",
            DataType::nullable(TypeKind::Array(Box::new(DataType::string()))),
        ),
        Field::new(
            "place",
            DataType::nullable(TypeKind::Row(vec![
                Field::new("x", DataType::int()),
                Field::new("y", DataType::decimal(18, 4)),
            ])),
        ),
        Field::new(
            "map",
            DataType::nullable(TypeKind::Map(
                Box::new(DataType::string().with_nullable(false)),
                Box::new(DataType::bigint()),
            )),
        ),
    ])
}

prop_compose! {
    fn record()(
        id in prop::option::of(any::<i64>()),
        name in prop::option::of(".{0,20}"),
        value in prop::option::of(exact()),
        tags in prop::option::of(prop::collection::vec(prop::option::of(".{0,5}"), 0..4)),
        place in prop::option::of((any::<i32>(), -1_000_000i64..1_000_000)),
        map in prop::option::of(prop::collection::btree_map("[a-z\"]{1,3}", any::<i64>(), 0..4)),
        unknown in any_json(),
        order in Just(vec![0usize, 1, 2, 3, 4, 5, 6]).prop_shuffle(),
        pretty in any::<bool>(),
    ) -> (String, Value) {
        let fields = json!({
            "id": id,
            "name": name,
            "value": value,
            "tags": tags,
            "place": place.map(|(x, y)| json!({"x": x, "y": y as f64 / 4.0})),
            "map": map,
            "unknown": unknown,
        });
        let names = ["id", "name", "value", "tags", "place", "map", "unknown"];
        let space = if pretty { "\n " } else { "" };
        let members: Vec<_> = order
            .iter()
            .map(|&i| format!("{space}{}{space}:{space}{}", Value::from(names[i]), fields[names[i]]))
            .collect();
        (format!("{{{}{space}}}", members.join(",")), fields)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_serde_json(records in prop::collection::vec(record(), 1..8)) {
        let fields = columns();
        let input = payloads(records.iter().map(|(text, _)| text.as_bytes()));
        let decoded = decode("json", &fields, &[], &input).map_err(|e| TestCaseError::fail(e.error.to_string()))?;
        prop_assert_eq!(decoded.rows, records.len());
        let ids = decoded.columns[0].as_primitive::<Int64Type>().clone();
        let names = decoded.columns[1].as_string::<i32>().clone();
        let values = decoded.columns[2].as_primitive::<Float64Type>().clone();
        for (row, (_, expected)) in records.iter().enumerate() {
            prop_assert_eq!(ids.iter().nth(row).flatten(), expected["id"].as_i64());
            prop_assert_eq!(names.iter().nth(row).flatten(), expected["name"].as_str());
            prop_assert_eq!(values.iter().nth(row).flatten(), expected["value"].as_f64());
        }
        // Written, each record is the same JSON again, without what the table does not have.
        let rows = decoded.rows;
        let out = encode_batch("json", &fields, &[], batch(&fields, decoded.columns, rows)).unwrap();
        for (row, (_, expected)) in records.iter().enumerate() {
            let written: Value = serde_json::from_slice(out.get(row).unwrap()).unwrap();
            for name in ["id", "name", "value", "tags", "map"] {
                prop_assert_eq!(&written[name], &expected[name]);
            }
            prop_assert_eq!(&written["place"]["x"], &expected["place"]["x"]);
            prop_assert_eq!(written["place"]["y"].as_f64(), expected["place"]["y"].as_f64());
        }
        // And read again the same rows.
        let again = decode("json", &fields, &[], &out).map_err(|e| TestCaseError::fail(e.error.to_string()))?;
        let first = decode("json", &fields, &[], &input).map_err(|e| TestCaseError::fail(e.error.to_string()))?;
        prop_assert_eq!(shown(&fields, again), shown(&fields, first));
    }

    #[test]
    fn doubles_are_read_and_written_to_the_last_bit(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let fields = RowType::new(vec![Field::new("v", DataType::double())]);
        for text in [format!("{value:e}"), format!("{value}")] {
            let decoded = decode("json", &fields, &[], &payloads([format!("{{\"v\":{text}}}").as_bytes()])).unwrap();
            prop_assert_eq!(decoded.columns[0].as_primitive::<Float64Type>().value(0).to_bits(), bits);
            let out = encode_batch("json", &fields, &[], batch(&fields, decoded.columns, 1)).unwrap();
            let written = std::str::from_utf8(&out.data[5..out.data.len() - 1]).unwrap();
            prop_assert_eq!(written.parse::<f64>().unwrap().to_bits(), bits, "{}", written);
        }
    }

    #[test]
    fn nested_values_become_compact_texts(value in any_json()) {
        let fields = RowType::new(vec![Field::new("t", DataType::string())]);
        let record = serde_json::to_string_pretty(&json!({ "t": [value.clone()] })).unwrap();
        let decoded = decode("json", &fields, &[], &payloads([record.as_bytes()])).unwrap();
        let text = decoded.columns[0].as_string::<i32>().value(0).to_owned();
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!([value]));
    }

    #[test]
    fn no_bytes_make_it_panic(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..10),
        (text, _) in record(),
        cut in any::<prop::sample::Index>(),
        put in any::<u8>(),
    ) {
        let fields = columns();
        let mut input = payloads(records.iter().map(Vec::as_slice));
        let mut broken = text.clone().into_bytes();
        let at = cut.index(broken.len());
        input.push(Some(&text.as_bytes()[..at]));
        broken[at] = put;
        input.push(Some(&broken));
        let _ = decode("json", &fields, &[], &input);
        let decoded = decode("json", &fields, &[("json.ignore-parse-errors", "true")], &input)
            .map_err(|e| TestCaseError::fail(e.error.to_string()))?;
        let rows = decoded.rows;
        batch(&fields, decoded.columns, rows);
    }

    /// Whatever serde_json takes as an object of these columns, this takes too, and the reverse for
    /// what is broken in its form.
    #[test]
    fn refuses_what_serde_json_refuses((text, _) in record(), cut in any::<prop::sample::Index>(), put in "[\\[\\]{}:,\"0-9a-z.\\\\-]") {
        let fields = RowType::new(vec![Field::new("none", DataType::string())]);
        let mut broken = text;
        let at = (0..=cut.index(broken.len())).rev().find(|i| broken.is_char_boundary(*i)).unwrap_or(0);
        broken.insert_str(at, &put);
        let mut stream = serde_json::Deserializer::from_str(&broken).into_iter::<Map<String, Value>>();
        let valid = stream.next().is_some_and(|v| v.is_ok());
        let lone_surrogate = broken.contains("\\u") || broken.bytes().any(|b| b < 0x20);
        let read = decode("json", &fields, &[], &payloads([broken.as_bytes()])).is_ok();
        if !lone_surrogate && !broken.contains('e') && !broken.contains("none") {
            prop_assert_eq!(read, valid, "{}", broken);
        }
    }
}
