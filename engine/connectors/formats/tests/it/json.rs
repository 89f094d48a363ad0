//! `json`, case by case.

use millrace_expr::{DataType, Field, RowType, TypeKind};

use crate::support::*;

const IGNORE: &[(&str, &str)] = &[("json.ignore-parse-errors", "true")];

/// Records, and what each gives failing and ignoring errors.
fn check(fields: &RowType, cases: &[(&str, &str, &str)]) {
    for (record, strict, lenient) in cases {
        let got = one("json", fields, &[], record);
        match *strict {
            "error" => assert!(got.starts_with("error: "), "{record} gave {got}"),
            expected => assert_eq!(got, expected, "{record}"),
        }
        assert_eq!(
            one("json", fields, IGNORE, record),
            *lenient,
            "{record}, ignoring errors"
        );
    }
}

#[test]
fn whole_numbers() {
    let fields = fields(&[
        DataType::int(),
        DataType::bigint(),
        nullable(TypeKind::TinyInt),
        nullable(TypeKind::SmallInt),
    ]);
    let none = "[null, null, null, null]";
    check(
        &fields,
        &[
            (
                r#"{"f0":1.9,"f1":1e3,"f2":1,"f3":1}"#,
                "[1, 1000, 1, 1]",
                "[1, 1000, 1, 1]",
            ),
            (r#"{"f2":1.0}"#, "error", none),
            (r#"{"f3":1.0}"#, "error", none),
            (r#"{"f2":128}"#, "error", none),
            (
                r#"{"f0":" 7 ","f1":"+8"}"#,
                "[7, 8, null, null]",
                "[7, 8, null, null]",
            ),
            (r#"{"f0":true}"#, "error", none),
            (r#"{"f0":""}"#, "error", none),
            (r#"{"f1":1e19}"#, "error", none),
            (
                r#"{"f1":9223372036854775807.0}"#,
                "[null, 9223372036854775807, null, null]",
                "[null, 9223372036854775807, null, null]",
            ),
            (
                r#"{"f1":-9223372036854775808}"#,
                "[null, -9223372036854775808, null, null]",
                "[null, -9223372036854775808, null, null]",
            ),
            (r#"{"f0":3000000000}"#, "error", none),
            (r#"{"f0":2147483647.5}"#, "error", none),
            (r#"{"f1":92233720368547758070}"#, "error", none),
            (r#"{"f0":-0}"#, "[0, null, null, null]", "[0, null, null, null]"),
            (r#"{"f0":null}"#, none, none),
            (r#"{"f0":{"a":1},"f1":2}"#, "error", "[null, 2, null, null]"),
            (r#"{"f0":[1],"f1":2}"#, "error", "[null, 2, null, null]"),
        ],
    );
}

#[test]
fn what_is_no_record() {
    let fields = fields(&[DataType::int()]);
    check(
        &fields,
        &[
            ("[1]", "error", "skipped"),
            ("[", "error", "skipped"),
            ("null", "error", "skipped"),
            ("  ", "error", "skipped"),
            ("", "no row", "no row"),
            (r#"{"f0":01}"#, "error", "skipped"),
            (r#"{"f0":1,}"#, "error", "skipped"),
            (r#"{"f0":1"#, "error", "skipped"),
            (r#"{"f0" 1}"#, "error", "skipped"),
            (r#"{"f0":1 "x":2}"#, "error", "skipped"),
            (r#"{"f0":-}"#, "error", "skipped"),
            (r#"{"f0":1.}"#, "error", "skipped"),
            (r#"{"f0":1e}"#, "error", "skipped"),
            (r#"{"f0":nul}"#, "error", "skipped"),
            (r#"{"f0":NaN}"#, "error", "skipped"),
            (r#"{"x":[1,2}"#, "error", "skipped"),
            (r#"{"x":{"a":1]}"#, "error", "skipped"),
            (r#"{"x":"\q"}"#, "error", "skipped"),
            (r#"{"x":"\u12"}"#, "error", "skipped"),
            (r#"{"x":"abc}"#, "error", "skipped"),
            (r#"{f0:1}"#, "error", "skipped"),
            // What comes behind the record is not looked at, as with Flink.
            (r#"{"f0":1} x"#, "[1]", "[1]"),
            (r#"{"f0":1}{"f0":2}"#, "[1]", "[1]"),
            // Behind as many values as there are columns nothing is read any more.
            (r#"{"f0":1,"f0":2}"#, "[1]", "[1]"),
            (r#"{"f0":"x","f0":2}"#, "error", "[null]"),
            ("{}", "[null]", "[null]"),
            (
                " { \"x\" : [ { \"f0\" : 3 } , \"]\" , -1.5e3 ] , \"f0\" : 4 } ",
                "[4]",
                "[4]",
            ),
            (r#"{"\u0066\u0030":5}"#, "[5]", "[5]"),
        ],
    );
    let deep = format!("{{\"x\":{}{},\"f0\":1}}", "[".repeat(999), "]".repeat(999));
    assert_eq!(one("json", &fields, &[], &deep), "[1]");
    let deeper = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(one("json", &fields, &[], &deeper).contains("nested too deeply"));
}

#[test]
fn fractions_booleans_and_decimals() {
    let fields = fields(&[
        DataType::double(),
        nullable(TypeKind::Float),
        DataType::decimal(10, 2),
        DataType::boolean(),
    ]);
    let none = "[null, null, null, null]";
    check(
        &fields,
        &[
            (
                r#"{"f0":1,"f1":1}"#,
                "[1.0, 1.0, null, null]",
                "[1.0, 1.0, null, null]",
            ),
            (
                r#"{"f0":"NaN","f1":"Infinity"}"#,
                "[NaN, Infinity, null, null]",
                "[NaN, Infinity, null, null]",
            ),
            (
                r#"{"f2":" 1.005 "}"#,
                "[null, null, 1.01, null]",
                "[null, null, 1.01, null]",
            ),
            // A decimal that is too large is NULL, and no error.
            (r#"{"f2":123456789.1}"#, none, none),
            (r#"{"f2":"x"}"#, "error", none),
            (r#"{"f2":true}"#, "error", none),
            (
                r#"{"f3":"TRUE"}"#,
                "[null, null, null, true]",
                "[null, null, null, true]",
            ),
            (
                r#"{"f3":1}"#,
                "[null, null, null, false]",
                "[null, null, null, false]",
            ),
            (
                r#"{"f3":"x"}"#,
                "[null, null, null, false]",
                "[null, null, null, false]",
            ),
            (
                r#"{"f0":1e400}"#,
                "[Infinity, null, null, null]",
                "[Infinity, null, null, null]",
            ),
            (
                r#"{"f1":1e40}"#,
                "[null, Infinity, null, null]",
                "[null, Infinity, null, null]",
            ),
            (
                r#"{"f0":"1d"}"#,
                "[1.0, null, null, null]",
                "[1.0, null, null, null]",
            ),
            (r#"{"f0":""}"#, "error", none),
            (r#"{"f0":"1_0"}"#, "error", none),
        ],
    );
}

#[test]
fn texts() {
    let only_texts = fields(&[DataType::string(), DataType::string()]);
    for (record, expected) in [
        (r#"{"f0":1.10,"f1":true}"#, "[1.10, true]"),
        (r#"{"f0":1E+2}"#, "[1E+2, null]"),
        (
            r#"{"f0":{"b" : 1.10, "a":[1, 2e3,null,"x\u0041\n"],"b":2}}"#,
            r#"[{"b":2,"a":[1,2000.0,null,"xA\n"]}, null]"#,
        ),
        (r#"{"f0":"\ud800"}"#, "[?, null]"),
        (r#"{"f0":"\ud800\u0041"}"#, "[?A, null]"),
        (r#"{"f0":"\u00e9\ud83d\ude00\/\b"}"#, "[é😀/\u{8}, null]"),
        ("{\"f0\":\"a\nb\"}", "[a\nb, null]"),
        (
            r#"{"f0":[1e400, 12345678901234567890, -0, -0.0,1e-7]}"#,
            r#"[["Infinity",12345678901234567890,0,-0.0,1.0E-7], null]"#,
        ),
        ("{\"f0\":[\"é/\u{1}\",{}, [ ] ]}", "[[\"é/\\u0001\",{},[]], null]"),
    ] {
        assert_eq!(one("json", &only_texts, &[], record), expected, "{record}");
    }
    let with_decimal = fields(&[DataType::string(), DataType::decimal(10, 2)]);
    assert_eq!(
        one("json", &with_decimal, &[], r#"{"f0":[1.10, 1e3, 1E-10]}"#),
        "[[1.1,1E+3,1E-10], null]"
    );
}

#[test]
fn bytes_dates_and_times() {
    let fields = fields(&[
        DataType::bytes(),
        nullable(TypeKind::Date),
        nullable(TypeKind::Time(3)),
        nullable(TypeKind::Timestamp(6)),
        nullable(TypeKind::TimestampLtz(3)),
    ]);
    let none = "[null, null, null, null, null]";
    let all = "[[97, 98, 99], 2023-11-14, 22:13:20, 2023-11-14T22:13:20.123456, 2023-11-14T22:13:20Z]";
    check(
        &fields,
        &[
            (
                r#"{"f0":"YWJj","f1":"2023-11-14","f2":"22:13:20.123456","f3":"2023-11-14 22:13:20.123456","f4":"2023-11-14 22:13:20Z"}"#,
                all,
                all,
            ),
            (r#"{"f0":"YWI"}"#, "error", none),
            (r#"{"f0":"YW Jj"}"#, "error", none),
            (r#"{"f0":5}"#, "error", none),
            (r#"{"f1":"2023-02-29"}"#, "error", none),
            (r#"{"f1":"2023-1-1"}"#, "error", none),
            (r#"{"f1":20231114}"#, "error", none),
            (r#"{"f3":"2023-11-14T22:13:20"}"#, "error", none),
            (r#"{"f3":"2023-11-14 22:13"}"#, "error", none),
            (r#"{"f4":"2023-11-14 22:13:20"}"#, "error", none),
            (r#"{"f3":1}"#, "error", none),
            (r#"{"f3":"2023-01-01 24:00:01"}"#, "error", none),
            (r#"{"f3":"2023-01-01 00:00:00.1234567891"}"#, "error", none),
        ],
    );
    for (record, expected) in [
        (
            r#"{"f3":"2023-11-14 22:13:20."}"#,
            "[null, null, null, 2023-11-14T22:13:20, null]",
        ),
        (
            r#"{"f3":"2023-11-14 24:00:00"}"#,
            "[null, null, null, 2023-11-15T00:00, null]",
        ),
        (
            r#"{"f3":"2023-02-29 00:00:00"}"#,
            "[null, null, null, 2023-02-28T00:00, null]",
        ),
        (r#"{"f2":"24:00:00"}"#, "[null, null, 00:00, null, null]"),
        (
            r#"{"f4":"2023-11-14 22:13:20.5Z"}"#,
            "[null, null, null, null, 2023-11-14T22:13:20.500Z]",
        ),
    ] {
        assert_eq!(one("json", &fields, &[], record), expected, "{record}");
    }
    let iso = &[("json.timestamp-format.standard", "ISO-8601")];
    assert_eq!(
        one(
            "json",
            &fields,
            iso,
            r#"{"f3":"2023-11-14T22:13:20.5","f4":"2023-11-14T22:13:20Z"}"#
        ),
        "[null, null, null, 2023-11-14T22:13:20.500, 2023-11-14T22:13:20Z]"
    );
    assert!(one("json", &fields, iso, r#"{"f3":"2023-11-14 22:13:20"}"#).starts_with("error"));
}

#[test]
fn nested_values() {
    let map = nullable(TypeKind::Map(
        Box::new(DataType::string().with_nullable(false)),
        Box::new(DataType::int()),
    ));
    let row = nullable(TypeKind::Row(vec![
        Field::new("a", DataType::int()),
        Field::new("b", nullable(TypeKind::Array(Box::new(DataType::string())))),
    ]));
    let fields = fields(&[map, nullable(TypeKind::Array(Box::new(DataType::int()))), row]);
    let none = "[null, null, null]";
    check(
        &fields,
        &[
            (
                r#"{"f0":{"a":1,"b":2,"a":3}}"#,
                "[{a=3, b=2}, null, null]",
                "[{a=3, b=2}, null, null]",
            ),
            (
                r#"{"f0":{"a":"x","b":null}}"#,
                "error",
                "[{a=null, b=null}, null, null]",
            ),
            (
                r#"{"f1":[1,null,"2","x"]}"#,
                "error",
                "[null, [1, null, 2, null], null]",
            ),
            (r#"{"f1":[ ]}"#, "[null, [], null]", "[null, [], null]"),
            (r#"{"f0":[1]}"#, "error", none),
            (r#"{"f1":{}}"#, "error", none),
            (
                r#"{"f2":{"b":["x"],"c":{},"a":2}}"#,
                "[null, null, +I[2, [x]]]",
                "[null, null, +I[2, [x]]]",
            ),
            (
                r#"{"f2":{}}"#,
                "[null, null, +I[null, null]]",
                "[null, null, +I[null, null]]",
            ),
            (r#"{"f2":1}"#, "error", none),
        ],
    );
    let many: Vec<_> = (0..40).map(|i| format!("\"k{}\":{i}", i % 30)).collect();
    let shown = one(
        "json",
        &fields,
        &[],
        &format!("{{\"f0\":{{{}}}}}", many.join(",")),
    );
    assert!(
        shown.contains("k0=30") && shown.contains("k29=29") && shown.matches('=').count() == 30,
        "{shown}"
    );
}

#[test]
fn not_null_and_missing_fields() {
    let fields = RowType::new(vec![
        Field::new("id", DataType::bigint().with_nullable(false)),
        Field::new("name", DataType::string()),
    ]);
    assert!(one("json", &fields, &[], r#"{"name":"a"}"#).contains("field 'id'"));
    assert!(one("json", &fields, &[], r#"{"id":null}"#).contains("field 'id'"));
    assert_eq!(one("json", &fields, IGNORE, r#"{"name":"a"}"#), "skipped");
    assert_eq!(one("json", &fields, IGNORE, r#"{"id":"x"}"#), "skipped");
    let strict = &[("json.fail-on-missing-field", "true")];
    let message = one("json", &fields, strict, r#"{"id":1}"#);
    assert!(
        message.contains("field 'name': the field is missing"),
        "{message}"
    );
    assert!(
        message.contains("'json.fail-on-missing-field' = 'false'"),
        "{message}"
    );
    assert_eq!(
        one("json", &fields, strict, r#"{"id":1,"name":null}"#),
        "[1, null]"
    );
}

#[test]
fn records_of_changing_shape_are_read_right() {
    let fields = fields(&[DataType::bigint(), DataType::string(), DataType::int()]);
    let records = [
        r#"{"f0":1,"f1":"a","f2":1}"#,
        r#"{"f0":2,"f1":"b","f2":2}"#,
        r#"{"f1":"c","f0":3,"f2":3}"#,
        r#"{"f0":4,"f1":"d","f2":4,"f3":"x"}"#,
        r#"{ "f0": 5, "f1": "e", "f2": 5 }"#,
        r#"{"f0":6}"#,
        r#"{"f0":7,"f1x":1,"f1":"g","f2":7}"#,
        r#"{"f00":1,"f0":8,"f1":"h","f2":8}"#,
        "{}",
        r#"{"f0":9,"f1":"i","f2":9}"#,
    ];
    let decoded = decode("json", &fields, &[], &payloads(records.map(str::as_bytes))).unwrap();
    assert!(decoded.row_sources.is_none());
    let expected = [
        "[1, a, 1]",
        "[2, b, 2]",
        "[3, c, 3]",
        "[4, d, 4]",
        "[5, e, 5]",
        "[6, null, null]",
        "[7, g, 7]",
        "[8, h, 8]",
        "[null, null, null]",
        "[9, i, 9]",
    ];
    assert_eq!(shown(&fields, decoded), expected);
}

/// A decoder once kept count of rows from one batch to the next.
#[test]
fn a_decoder_starts_anew_with_each_batch() {
    let fields = fields(&[DataType::int(), DataType::string()]);
    let mut decoder = format("json")
        .decoder(&table(&fields, &[]), "json.", &fields)
        .unwrap();
    let records = payloads([&b"{\"f0\":1,\"f0\":2}"[..], b"{\"f1\":\"a\"}"]);
    for _ in 0..3 {
        assert_eq!(
            shown(&fields, decoder.decode(&records).unwrap()),
            ["[2, null]", "[null, a]"]
        );
    }
    assert!(decoder.decode(&payloads([&b"{\"f0\":1}"[..], b"x"])).is_err());
    assert_eq!(
        shown(&fields, decoder.decode(&records).unwrap()),
        ["[2, null]", "[null, a]"]
    );
}

#[test]
fn skipped_records_are_counted_and_rows_know_their_payloads() {
    let fields = fields(&[DataType::int(), DataType::string()]);
    let mut records = payloads([
        &b"{\"f0\":1}"[..],
        b"x",
        b"{\"f0\":2,\"f1\":\"a\"",
        b"{\"f0\":3}",
        b"",
    ]);
    records.push(None);
    records.push(Some(b"{\"f0\":4,\"f1\":\"\xff\"}"));
    records.push(Some(b"{\"f0\":5}"));
    let decoded = decode("json", &fields, IGNORE, &records).unwrap();
    assert_eq!((decoded.rows, decoded.skipped), (3, 3));
    assert_eq!(decoded.row_sources.as_deref(), Some(&[0, 3, 7][..]));
    assert_eq!(shown(&fields, decoded), ["[1, null]", "[3, null]", "[5, null]"]);
    let e = decode("json", &fields, &[], &records).err().unwrap();
    assert_eq!(e.payload, 1);
    assert!(
        e.error
            .to_string()
            .contains("byte 0: 'x' where an object or an array of objects should be"),
        "{}",
        e.error
    );
}

#[test]
fn each_element_of_an_array_is_a_row() {
    let fields = fields(&[DataType::int(), DataType::string()]);
    let mut records = payloads([
        &b"{\"f0\":1}"[..],
        b"[{\"f0\":2},{\"f1\":\"a\"} , {}]",
        b" []",
        b"[{\"f0\":3},{\"f0\":4,]",
        b"[{\"f0\":5},{\"f0\":{}},{\"f0\":6}]",
    ]);
    records.push(None);
    records.push(Some(b"[{\"f0\":7}]"));
    let decoded = decode("json", &fields, IGNORE, &records).unwrap();
    assert_eq!((decoded.rows, decoded.skipped), (9, 1));
    assert_eq!(
        decoded.row_sources.as_deref(),
        Some(&[0, 1, 1, 1, 3, 4, 4, 4, 6][..])
    );
    let rows = shown(&fields, decoded).concat();
    assert_eq!(
        rows,
        "[1, null][2, null][null, a][null, null][3, null][5, null][null, null][6, null][7, null]"
    );
    let e = decode("json", &fields, &[], &records).err().unwrap();
    assert_eq!(e.payload, 3);
    assert!(e.error.to_string().contains("byte 18"), "{}", e.error);
    // One row each: nothing needs to be said about it.
    let single = payloads([&b"[{\"f0\":1}]"[..], b"{\"f0\":2}"]);
    let decoded = decode("json", &fields, &[], &single).unwrap();
    assert_eq!((decoded.rows, decoded.row_sources), (2, None));
}

#[test]
fn errors_say_where() {
    let fields = fields(&[nullable(TypeKind::Row(vec![Field::new("a", DataType::int())]))]);
    let e = one("json", &fields, &[], r#"{"f0":{"a":"no"}}"#);
    assert!(
        e.contains("byte 11, field 'f0.a': \"no\" is not of type INT"),
        "{e}"
    );
    let fields = RowType::new(vec![Field::new("a", DataType::string())]);
    let mut bytes = b"{\"a\":\"".to_vec();
    bytes.extend([0xc3, 0x28, b'"', b'}']);
    let e = decode("json", &fields, &[], &payloads([&bytes[..]]))
        .err()
        .unwrap();
    assert!(
        e.error.to_string().contains("byte 6: invalid UTF-8"),
        "{}",
        e.error
    );
    // A character cut in two between records is valid in neither.
    let mut halves = payloads([&b"{\"a\":\"x\"}"[..], b"{\"a\":\"\xc3", b"\xa9\"}"]);
    assert_eq!(decode("json", &fields, &[], &halves).err().unwrap().payload, 1);
    halves.push(Some(b"{\"a\":\"y\"}"));
    let decoded = decode("json", &fields, IGNORE, &halves).unwrap();
    assert_eq!((decoded.rows, decoded.skipped), (2, 2));
}

#[test]
fn writes_what_flink_writes() {
    let all = fields(&[
        DataType::double(),
        DataType::decimal(10, 2),
        DataType::decimal(10, 9),
        nullable(TypeKind::Time(3)),
        nullable(TypeKind::Timestamp(3)),
        nullable(TypeKind::TimestampLtz(3)),
        DataType::bytes(),
        DataType::string(),
    ]);
    let row = r#"{"f0":1e10,"f1":1.50,"f2":0.000000001,"f3":"01:00:00","f4":"2023-11-14 22:13:20.5",
        "f5":"2023-11-14 22:13:20Z","f6":"YWJj","f7":"a\"b\\c\n\t\u0001\u007f/\u00e9\ud83d\ude00"}"#;
    assert_eq!(
        encode("json", &all, &[], row).unwrap(),
        "{\"f0\":1.0E10,\"f1\":1.5,\"f2\":1E-9,\"f3\":\"01:00:00\",\"f4\":\"2023-11-14 22:13:20.5\",\
         \"f5\":\"2023-11-14 22:13:20Z\",\"f6\":\"YWJj\",\
         \"f7\":\"a\\\"b\\\\c\\n\\t\\u0001\u{7f}/é\\uD83D\\uDE00\"}"
    );
    let plain = &[("json.encode.decimal-as-plain-number", "true")];
    let out = encode("json", &all, plain, row).unwrap();
    assert!(out.contains("\"f1\":1.50,\"f2\":0.000000001"), "{out}");
    let whole = fields(&[DataType::decimal(10, 0), DataType::double()]);
    assert_eq!(
        encode("json", &whole, &[], r#"{"f0":100000,"f1":"NaN"}"#).unwrap(),
        r#"{"f0":1E+5,"f1":"NaN"}"#
    );
    assert_eq!(
        encode("json", &whole, &[], "{}").unwrap(),
        r#"{"f0":null,"f1":null}"#
    );
    let without_nulls = &[("json.encode.ignore-null-fields", "true")];
    assert_eq!(
        encode("json", &whole, without_nulls, r#"{"f1":1}"#).unwrap(),
        r#"{"f1":1.0}"#
    );
    assert_eq!(encode("json", &whole, without_nulls, "{}").unwrap(), "{}");
}

#[test]
fn options_are_checked() {
    let fields = fields(&[DataType::int()]);
    let refused = |options: &[(&str, &str)]| {
        format("json")
            .validate(&table(&fields, options), "json.", &fields.fields)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&[("json.timestamp-format.standard", "RFC")]).contains("'ISO-8601'"));
    assert!(refused(&[("json.ignore-parse-errors", "yes")]).contains("'true' or 'false'"));
    assert!(
        refused(&[
            ("json.ignore-parse-errors", "true"),
            ("json.fail-on-missing-field", "true")
        ])
        .contains("both enabled")
    );
    let map = nullable(TypeKind::Map(
        Box::new(DataType::int()),
        Box::new(DataType::int()),
    ));
    let columns = [Field::new("m", map)];
    let e = format("json")
        .validate(&table(&fields, &[]), "json.", &columns)
        .unwrap_err()
        .to_string();
    assert!(e.contains("only strings as keys"), "{e}");
}
