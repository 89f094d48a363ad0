//! `csv`, case by case.

use millrace_expr::{DataType, Field, RowType, TypeKind};
use proptest::prelude::*;

use crate::support::*;

fn check(fields: &RowType, options: &[(&str, &str)], cases: &[(&str, &str, &str)]) {
    let mut ignoring = options.to_vec();
    ignoring.push(("csv.ignore-parse-errors", "true"));
    for (record, strict, lenient) in cases {
        let got = one("csv", fields, options, record);
        match *strict {
            "error" => assert!(got.starts_with("error: "), "{record} gave {got}"),
            expected => assert_eq!(got, expected, "{record}"),
        }
        assert_eq!(
            one("csv", fields, &ignoring, record),
            *lenient,
            "{record}, ignoring errors"
        );
    }
}

#[test]
fn cells() {
    let fields = fields(&[DataType::string(), DataType::int()]);
    check(
        &fields,
        &[],
        &[
            ("a,1", "[a, 1]", "[a, 1]"),
            ("", "error", "skipped"),
            ("a", "error", "[a, null]"),
            ("a,", "error", "[a, null]"),
            ("a, 1 ", "[a, 1]", "[a, 1]"),
            ("\"a\",1", "[a, 1]", "[a, 1]"),
            ("\"a\"\"b\",1", "[a\"b, 1]", "[a\"b, 1]"),
            (" \"a\",1", "[ \"a\", 1]", "[ \"a\", 1]"),
            ("\"a\" ,1", "[a, 1]", "[a, 1]"),
            ("\"a\"x,1", "error", "skipped"),
            ("a\"b,1", "[a\"b, 1]", "[a\"b, 1]"),
            ("a,1,", "[a, 1]", "[a, 1]"),
            ("a,1,2", "error", "skipped"),
            ("\"a\nb\",1", "[a\nb, 1]", "[a\nb, 1]"),
            ("a,1\r\n", "[a, 1]", "[a, 1]"),
            ("a,1\nb,2", "[a, 1]", "[a, 1]"),
            ("\"a,1", "error", "skipped"),
            ("#a,1", "[#a, 1]", "[#a, 1]"),
            (",1", "[, 1]", "[, 1]"),
            ("a,+1", "[a, 1]", "[a, 1]"),
            ("a,1.5", "error", "[a, null]"),
            ("a,99999999999", "error", "[a, null]"),
        ],
    );
    check(
        &fields,
        &[("csv.null-literal", "null")],
        &[
            ("null,null", "[null, null]", "[null, null]"),
            ("\"null\",1", "[null, 1]", "[null, 1]"),
            (" null,1", "[ null, 1]", "[ null, 1]"),
        ],
    );
    check(
        &fields,
        &[("csv.null-literal", "")],
        &[(",", "[null, null]", "[null, null]")],
    );
    check(
        &fields,
        &[("csv.escape-character", "\\")],
        &[
            ("a\\,b,1", "[a,b, 1]", "[a,b, 1]"),
            ("\"a\\\"b\",1", "[a\"b, 1]", "[a\"b, 1]"),
            ("a\\nb,1", "[a\nb, 1]", "[a\nb, 1]"),
            ("a\\\\,1", "[a\\, 1]", "[a\\, 1]"),
        ],
    );
    check(
        &fields,
        &[("csv.allow-comments", "true")],
        &[("#a,1", "error", "skipped"), ("a#,1", "[a#, 1]", "[a#, 1]")],
    );
    check(
        &fields,
        &[("csv.disable-quote-character", "true")],
        &[("\"a\",1", "[\"a\", 1]", "[\"a\", 1]")],
    );
    check(
        &fields,
        &[("csv.field-delimiter", "\\t")],
        &[("a,b\t1", "[a,b, 1]", "[a,b, 1]")],
    );
}

#[test]
fn types() {
    let numbers = fields(&[
        DataType::boolean(),
        DataType::double(),
        nullable(TypeKind::Float),
        DataType::decimal(10, 2),
    ]);
    check(
        &numbers,
        &[],
        &[
            (
                "true,1.5,1.5,1.005",
                "[true, 1.5, 1.5, 1.01]",
                "[true, 1.5, 1.5, 1.01]",
            ),
            (
                "TRUE,NaN,1e3,1e3",
                "[true, NaN, 1000.0, 1000.00]",
                "[true, NaN, 1000.0, 1000.00]",
            ),
            (",,,", "error", "[false, null, null, null]"),
            ("1, 1.5 , 2 , 1 ", "error", "[false, 1.5, 2.0, null]"),
            (
                "true,1,1,123456789.1",
                "[true, 1.0, 1.0, null]",
                "[true, 1.0, 1.0, null]",
            ),
        ],
    );
    let times = fields(&[
        nullable(TypeKind::Timestamp(3)),
        nullable(TypeKind::TimestampLtz(3)),
        nullable(TypeKind::Date),
        nullable(TypeKind::Time(3)),
        DataType::bytes(),
    ]);
    let all = "[2023-11-14T22:13:20.500, 2023-11-14T22:13:20.500Z, 2023-11-14, 22:13:20.123, [97, 98, 99]]";
    check(
        &times,
        &[],
        &[
            (
                "2023-11-14 22:13:20.5,2023-11-14 22:13:20.5Z,2023-11-14,22:13:20.123,YWJj",
                all,
                all,
            ),
            (
                "2023-1-4 2:3:2,2023-11-14 22:13:20,2023-1-4,22:13,YWJj",
                "error",
                "[null, null, 2023-01-04, 22:13, [97, 98, 99]]",
            ),
            (
                " 2023-11-14 22:13:20,2023-11-14 22:13:20Z, 2023-11-14,22:13:20,?",
                "error",
                "[2023-11-14T22:13:20, 2023-11-14T22:13:20Z, null, 22:13:20, null]",
            ),
        ],
    );
    let dates = fields(&[nullable(TypeKind::Date)]);
    check(
        &dates,
        &[],
        &[
            ("2023-02-30", "[2023-03-02]", "[2023-03-02]"),
            ("2023-13-01", "error", "[null]"),
            ("02023-1-1", "error", "[null]"),
        ],
    );
    let nested = fields(&[
        nullable(TypeKind::Array(Box::new(DataType::string()))),
        nullable(TypeKind::Array(Box::new(DataType::int()))),
    ]);
    check(
        &nested,
        &[],
        &[
            ("a;b,1;2", "[[a, b], [1, 2]]", "[[a, b], [1, 2]]"),
            ("a;,1;", "error", "[[a, ], [1, null]]"),
            (",", "[[], []]", "[[], []]"),
        ],
    );
    let row = nullable(TypeKind::Row(vec![
        Field::new("a", DataType::string()),
        Field::new("b", DataType::int()),
    ]));
    check(
        &fields(&[row, DataType::int()]),
        &[],
        &[
            ("x;1,2", "[+I[x, 1], 2]", "[+I[x, 1], 2]"),
            ("x,2", "error", "[+I[x, null], 2]"),
            (",2", "[null, 2]", "[null, 2]"),
            ("x;1;3,2", "[+I[x, 1], 2]", "[+I[x, 1], 2]"),
        ],
    );
}

#[test]
fn writes_what_flink_writes() {
    let all = fields(&[
        DataType::string(),
        DataType::int(),
        nullable(TypeKind::Timestamp(3)),
        nullable(TypeKind::Date),
        nullable(TypeKind::Time(3)),
        DataType::bytes(),
        DataType::double(),
        DataType::decimal(10, 2),
    ]);
    let row = r#"{"f0":"a b","f1":1,"f2":"2023-11-14 22:13:20.5","f3":"2022-01-08","f4":"01:00:00","f5":"YWJj","f6":1e10,"f7":100}"#;
    assert_eq!(
        encode("csv", &all, &[], row).unwrap(),
        "\"a b\",1,\"2023-11-14 22:13:20.5\",2022-01-08,01:00:00,YWJj,1.0E10,100.00"
    );
    let scientific = &[("csv.write-bigdecimal-in-scientific-notation", "true")];
    assert_eq!(
        encode(
            "csv",
            &fields(&[DataType::decimal(10, 0)]),
            scientific,
            r#"{"f0":100000}"#
        )
        .unwrap(),
        "1E+5"
    );
    let text = fields(&[DataType::string(), DataType::int()]);
    let written = |options: &[(&str, &str)], text_value: &str| {
        let row = serde_json::json!({ "f0": text_value, "f1": 1 }).to_string();
        encode("csv", &text, options, &row).unwrap()
    };
    for (value, expected) in [
        ("", ",1"),
        ("a\"b", "\"a\"\"b\",1"),
        ("a,b", "\"a,b\",1"),
        ("a\nb", "\"a\nb\",1"),
        ("-1", "-1,1"),
        ("abcdefghijklmnopqrstuvwx", "abcdefghijklmnopqrstuvwx,1"),
        ("abcdefghijklmnopqrstuvwxy", "\"abcdefghijklmnopqrstuvwxy\",1"),
        ("é.a/b", "é.a/b,1"),
        ("a'b", "\"a'b\",1"),
        ("a\\b", "\"a\\b\",1"),
        ("null", "null,1"),
    ] {
        assert_eq!(written(&[], value), expected);
    }
    assert_eq!(written(&[("csv.escape-character", "$")], "a$b"), "\"a$$b\",1");
    assert_eq!(written(&[("csv.escape-character", "$")], "a\\b"), "a\\b,1");
    assert_eq!(written(&[("csv.field-delimiter", "|")], "plain"), "\"plain\"|1");
    assert_eq!(written(&[("csv.field-delimiter", "\\t")], "a,b"), "a,b\t1");
    assert_eq!(written(&[("csv.quote-character", "'")], "a'b"), "'a''b',1");
    assert_eq!(
        written(&[("csv.disable-quote-character", "true")], "a\"b"),
        "a\"b,1"
    );
    assert_eq!(encode("csv", &text, &[], "{}").unwrap(), ",");
    assert_eq!(
        encode("csv", &text, &[("csv.null-literal", "n/a")], "{}").unwrap(),
        "n/a,n/a"
    );
    let arrays = fields(&[
        nullable(TypeKind::Array(Box::new(DataType::string()))),
        nullable(TypeKind::Array(Box::new(DataType::int()))),
    ]);
    assert_eq!(
        encode("csv", &arrays, &[], r#"{"f0":["a",null,"b c"],"f1":[1,2]}"#).unwrap(),
        "\"a;;b c\",1;2"
    );
}

#[test]
fn options_and_types_are_checked() {
    let fields = fields(&[DataType::int()]);
    let refused = |columns: &[Field], options: &[(&str, &str)]| {
        format("csv")
            .validate(&table(&fields, options), "csv.", columns)
            .unwrap_err()
            .to_string()
    };
    assert!(
        refused(&fields.fields, &[("csv.field-delimiter", "ab")])
            .contains("one character of the basic plane")
    );
    assert!(
        refused(
            &fields.fields,
            &[
                ("csv.quote-character", "'"),
                ("csv.disable-quote-character", "true")
            ]
        )
        .contains("disables quotes")
    );
    let map = nullable(TypeKind::Map(
        Box::new(DataType::string()),
        Box::new(DataType::int()),
    ));
    assert!(refused(&[Field::new("m", map)], &[]).contains("cannot carry"));
    let nested = nullable(TypeKind::Array(Box::new(nullable(TypeKind::Array(Box::new(
        DataType::int(),
    ))))));
    assert!(refused(&[Field::new("n", nested)], &[]).contains("only simple types"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(
        rows in prop::collection::vec((prop::option::of("[ -~é\n\"]{1,30}"), prop::option::of(any::<i64>())), 1..10),
        delimiter in "[,;|]",
        escape in prop::option::of(Just("\\")),
    ) {
        let fields = fields(&[DataType::string(), DataType::bigint()]);
        let mut options = vec![("csv.null-literal", "~null~"), ("csv.field-delimiter", delimiter.as_str())];
        options.extend(escape.map(|e| ("csv.escape-character", e)));
        let records: Vec<_> = rows.iter().map(|(a, b)| serde_json::json!({"f0": a, "f1": b}).to_string()).collect();
        let first = || decode("json", &fields, &[], &payloads(records.iter().map(|r| r.as_bytes()))).unwrap();
        let (decoded, expected) = (first(), shown(&fields, first()));
        let out = encode_batch("csv", &fields, &options, batch(&fields, decoded.columns, rows.len())).unwrap();
        let again = decode("csv", &fields, &options, &out).map_err(|e| TestCaseError::fail(e.error.to_string()))?;
        prop_assert_eq!(shown(&fields, again), expected);
    }

    #[test]
    fn no_bytes_make_it_panic(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), text in "[\",;\\\\a\n]{0,30}") {
        let fields = fields(&[DataType::string(), nullable(TypeKind::Array(Box::new(DataType::int()))), nullable(TypeKind::Timestamp(9))]);
        let mut input = payloads(records.iter().map(Vec::as_slice));
        input.push(Some(text.as_bytes()));
        let _ = decode("csv", &fields, &[("csv.escape-character", "\\")], &input);
        let decoded = decode("csv", &fields, &[("csv.ignore-parse-errors", "true")], &input).map_err(|e| TestCaseError::fail(e.error.to_string()))?;
        let rows = decoded.rows;
        batch(&fields, decoded.columns, rows);
    }
}
