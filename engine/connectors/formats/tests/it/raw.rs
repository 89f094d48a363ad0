//! `raw`.

use millrace_connector_api::ChangeBatch;
use millrace_expr::{DataType, Field, TypeKind};

use crate::support::*;

fn round_trip(data_type: DataType, options: &[(&str, &str)], bytes: &[u8], shown_as: &str) {
    let fields = fields(&[data_type]);
    let decoded = decode("raw", &fields, options, &payloads([bytes])).unwrap();
    let rows = batch(&fields, decoded.columns, 1);
    assert_eq!(
        encode_batch("raw", &fields, options, rows).unwrap().get(0),
        Some(bytes)
    );
    let again = decode("raw", &fields, options, &payloads([bytes])).unwrap();
    assert_eq!(shown(&fields, again), [format!("[{shown_as}]")]);
}

#[test]
fn every_type_both_ways() {
    round_trip(DataType::string(), &[], "aé😀".as_bytes(), "aé😀");
    round_trip(
        DataType::string(),
        &[("raw.charset", "ISO-8859-1")],
        b"a\xe9",
        "aé",
    );
    round_trip(
        DataType::string(),
        &[("raw.charset", "UTF-16")],
        &[0xfe, 0xff, 0, b'a'],
        "a",
    );
    round_trip(
        DataType::string(),
        &[("raw.charset", "UTF-16LE")],
        &[b'a', 0, 0x3d, 0xd8, 0, 0xde],
        "a😀",
    );
    round_trip(DataType::string(), &[("raw.charset", "us-ascii")], b"abc", "abc");
    round_trip(DataType::bytes(), &[], &[0, 255], "[0, -1]");
    round_trip(DataType::boolean(), &[], &[1], "true");
    round_trip(nullable(TypeKind::TinyInt), &[], &[254], "-2");
    round_trip(nullable(TypeKind::SmallInt), &[], &[1, 2], "258");
    round_trip(
        nullable(TypeKind::SmallInt),
        &[("raw.endianness", "little-endian")],
        &[2, 1],
        "258",
    );
    round_trip(DataType::int(), &[], &[0, 0, 1, 0], "256");
    round_trip(
        DataType::bigint(),
        &[("raw.endianness", "little-endian")],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        "1",
    );
    round_trip(nullable(TypeKind::Float), &[], &1.5f32.to_be_bytes(), "1.5");
    round_trip(
        DataType::double(),
        &[("raw.endianness", "little-endian")],
        &1.5f64.to_le_bytes(),
        "1.5",
    );
}

#[test]
fn nulls_pass_and_wrong_lengths_do_not() {
    let fields = fields(&[DataType::int()]);
    let mut input = payloads([&[0u8, 0, 0, 7][..]]);
    input.push(None);
    let decoded = decode("raw", &fields, &[], &input).unwrap();
    assert_eq!((decoded.rows, null_count(&decoded)), (2, 1));
    let out = encode_batch("raw", &fields, &[], batch(&fields, decoded.columns, 2)).unwrap();
    assert_eq!(out.nulls, [1]);
    let e = decode("raw", &fields, &[], &payloads([&[1u8, 2][..]]))
        .err()
        .unwrap()
        .error
        .to_string();
    assert!(e.contains("2 bytes, where its type has 4"), "{e}");
}

/// Batches that are taken as a whole and such that are not give the same.
#[test]
fn a_batch_as_a_whole_is_what_its_records_are() {
    let records: [&[u8]; 5] = [b"abc", b"", "é😀".as_bytes(), b"\0", b"x"];
    for data_type in [DataType::string(), DataType::bytes()] {
        let fields = fields(&[data_type]);
        let whole = decode("raw", &fields, &[], &payloads(records)).unwrap();
        let mut with_null = payloads(records);
        with_null.push(None);
        let single = decode("raw", &fields, &[], &with_null).unwrap();
        assert_eq!((whole.rows, single.rows), (5, 6));
        assert_eq!(whole.columns[0].as_ref(), single.columns[0].slice(0, 5).as_ref());
        // A batch behind another one, and a part of one.
        let rows = batch(&fields, whole.columns, 5);
        let table = table(&fields, &[]);
        let mut encoder = format("raw").encoder(&table, "raw.", &fields).unwrap();
        let mut out = payloads([&b"before"[..]]);
        for part in [rows.clone(), rows.slice(1, 3), rows.slice(2, 0)] {
            encoder.encode(&ChangeBatch::inserts(part), &mut out).unwrap();
        }
        let got: Vec<_> = (0..out.len()).map(|i| out.get(i).unwrap()).collect();
        let mut expected = vec![&b"before"[..]];
        expected.extend(records);
        expected.extend(&records[1..4]);
        assert_eq!(got, expected);
    }
    // Two halves of a character are valid only together.
    let fields = fields(&[DataType::string()]);
    let halves = decode("raw", &fields, &[], &payloads([&b"\xc3"[..], b"\xa9"])).unwrap();
    assert_eq!(shown(&fields, halves), ["[\u{fffd}]", "[\u{fffd}]"]);
}

#[test]
fn one_column_of_a_plain_type() {
    let two = fields(&[DataType::int(), DataType::int()]);
    let e = format("raw")
        .validate(&table(&two, &[]), "raw.", &two.fields)
        .unwrap_err()
        .to_string();
    assert!(e.contains("exactly one column"), "{e}");
    let date = [Field::new("d", nullable(TypeKind::Date))];
    assert!(format("raw").validate(&table(&two, &[]), "raw.", &date).is_err());
    let one = fields(&[DataType::int()]);
    let e = format("raw").validate(&table(&one, &[("raw.charset", "EBCDIC")]), "raw.", &one.fields);
    assert!(e.unwrap_err().to_string().contains("'UTF-16LE'"));
}
