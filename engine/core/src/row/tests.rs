//! Round trips, order, and the bytes themselves.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int32Builder, Int64Array,
    ListBuilder, MapBuilder, StringArray, StringBuilder, StructArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;

use super::{RowCodec, Rows};

fn encode(columns: &[ArrayRef]) -> (RowCodec, Rows) {
    let codec = RowCodec::new(columns.iter().map(|c| c.data_type().clone())).unwrap();
    let mut rows = Rows::default();
    codec.encode(columns, &mut rows).unwrap();
    (codec, rows)
}

fn comes_back(columns: &[ArrayRef]) {
    let (codec, rows) = encode(columns);
    assert_eq!(rows.len(), columns[0].len());
    let back = codec.decode(rows.iter()).unwrap();
    for (a, b) in columns.iter().zip(&back) {
        assert_eq!(a.to_data(), b.to_data(), "{}", a.data_type());
    }
}

fn array(values: impl arrow::array::Array + 'static) -> ArrayRef {
    Arc::new(values)
}

#[test]
fn the_bytes_are_these_for_ever() {
    let columns = [
        array(Int64Array::from(vec![Some(42), None])),
        array(StringArray::from(vec!["a\0b", ""])),
        array(BooleanArray::from(vec![true, false])),
        array(Int32Array::from(vec![-1, 7])),
        array(Float64Array::from(vec![1.5, -1.5])),
    ];
    let (_, rows) = encode(&columns);
    assert_eq!(
        rows.get(0),
        b"\x01\x80\0\0\0\0\0\0\x2a\x01a\0\xffb\0\0\x01\x01\x01\x7f\xff\xff\xff\x01\xbf\xf8\0\0\0\0\0\0"
    );
    assert_eq!(
        rows.get(1),
        b"\0\x01\0\0\x01\0\x01\x80\0\0\x07\x01\x40\x07\xff\xff\xff\xff\xff\xff"
    );
    // Written column by column, they are the same.
    let (_, strided) = encode(&[columns[3].clone(), columns[4].clone()]);
    assert_eq!(
        strided.get(1),
        b"\x01\x80\0\0\x07\x01\x40\x07\xff\xff\xff\xff\xff\xff"
    );
}

#[test]
fn nested_values_come_back() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    lists.append_value([]);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    maps.keys().append_value("k\0");
    maps.values().append_value(1);
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    maps.append(true).unwrap();
    let rows = StructArray::new(
        vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Utf8, true),
        ]
        .into(),
        vec![
            array(Int32Array::from(vec![Some(1), None, None])),
            array(StringArray::from(vec![Some("x"), None, None])),
        ],
        Some(vec![true, false, true].into()),
    );
    comes_back(&[array(lists.finish()), array(maps.finish()), array(rows)]);
}

#[test]
fn foreign_bytes_are_refused() {
    let codec = RowCodec::new([DataType::Int32, DataType::Utf8]).unwrap();
    let (_, rows) = encode(&[
        array(Int32Array::from(vec![5])),
        array(StringArray::from(vec!["x"])),
    ]);
    let good = rows.get(0);
    assert!(codec.decode([good]).is_ok());
    for cut in 0..good.len() {
        assert!(codec.decode([&good[..cut]]).is_err(), "{cut} bytes");
    }
    for bad in [&b"\x02"[..], b"\x01\0\0\0\0\x01\xff\0\0", b"\0\x01a\0\x07"] {
        assert!(codec.decode([bad]).is_err(), "{bad:?}");
    }
    let mut long = good.to_vec();
    long.push(0);
    assert!(codec.decode([&long[..]]).is_err());
}

#[test]
fn what_has_no_encoding_is_refused() {
    assert!(RowCodec::new([DataType::Float16]).is_err());
    let codec = RowCodec::new([DataType::Int32]).unwrap();
    let longs = [array(Int64Array::from(vec![1]))];
    assert!(codec.encode(&longs, &mut Rows::default()).is_err());
}

type Sample = (
    Option<i64>,
    Option<String>,
    Option<Vec<u8>>,
    f64,
    Option<i128>,
    bool,
);

fn sample() -> impl Strategy<Value = Sample> {
    let text = prop::option::of("[a\u{0}\u{1}ö]{0,4}");
    let bytes = prop::option::of(prop::collection::vec(
        prop::sample::select(vec![0u8, 1, 255]),
        0..4,
    ));
    let integer = prop::option::of(prop::sample::select(vec![i64::MIN, -1, 0, 1, 255, 256, i64::MAX]));
    let double = prop::sample::select(vec![
        f64::NEG_INFINITY,
        -1.5,
        -0.0,
        0.0,
        1e-300,
        2.0,
        f64::INFINITY,
    ]);
    let decimal = prop::option::of(-1_000i128..1_000);
    (integer, text, bytes, double, decimal, any::<bool>())
}

fn columns(samples: &[Sample]) -> Vec<ArrayRef> {
    vec![
        array(TimestampMillisecondArray::from_iter(samples.iter().map(|s| s.0)).with_timezone("UTC")),
        array(StringArray::from_iter(samples.iter().map(|s| s.1.as_deref()))),
        array(BinaryArray::from_iter(samples.iter().map(|s| s.2.as_deref()))),
        array(Float64Array::from_iter_values(samples.iter().map(|s| s.3))),
        array(
            Decimal128Array::from_iter(samples.iter().map(|s| s.4))
                .with_precision_and_scale(20, 3)
                .unwrap(),
        ),
        array(BooleanArray::from_iter(samples.iter().map(|s| Some(s.5)))),
    ]
}

proptest! {
    #[test]
    fn rows_come_back(samples in prop::collection::vec(sample(), 1..20)) {
        comes_back(&columns(&samples));
    }

    /// Nulls first, then by value, column after column; and no row begins another one.
    #[test]
    fn bytes_sort_as_values_do(a in sample(), b in sample()) {
        let (_, rows) = encode(&columns(&[a.clone(), b.clone()]));
        let (x, y) = (rows.get(0), rows.get(1));
        let values = (a.0, &a.1, &a.2).cmp(&(b.0, &b.1, &b.2))
            .then(a.3.total_cmp(&b.3))
            .then((a.4, a.5).cmp(&(b.4, b.5)));
        prop_assert_eq!(x.cmp(y), values);
        prop_assert!(x == y || !(x.starts_with(y) || y.starts_with(x)));
    }
}

#[test]
fn integers_in_few_bytes_come_back_and_sort() {
    let long: Vec<Option<i64>> = [
        i64::MIN,
        -65_537,
        -257,
        -256,
        -2,
        -1,
        0,
        1,
        255,
        256,
        1 << 40,
        i64::MAX,
    ]
    .into_iter()
    .map(Some)
    .chain([None])
    .collect();
    let columns = [
        array(Int64Array::from(long.clone())),
        array(Int32Array::from_iter(long.iter().map(|v| {
            v.map(|v| v.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
        }))),
        array(StringArray::from_iter(
            long.iter().map(|v| v.map(|v| v.to_string())),
        )),
    ];
    let codec = RowCodec::compact(columns.iter().map(|c| c.data_type().clone())).unwrap();
    let mut rows = Rows::default();
    codec.encode(&columns, &mut rows).unwrap();
    let back = codec.decode(rows.iter()).unwrap();
    for (a, b) in columns.iter().zip(&back) {
        assert_eq!(a.to_data(), b.to_data());
    }
    let values = long.len() - 1;
    for row in 1..values {
        assert!(rows.get(row - 1) < rows.get(row), "{row}");
    }
    assert!(rows.get(values) < rows.get(0), "nulls first");
    let zero = RowCodec::compact([DataType::Int64]).unwrap();
    let mut rows = Rows::default();
    zero.encode(&[array(Int64Array::from(vec![0, 1, -1, 300]))], &mut rows)
        .unwrap();
    let lengths: Vec<usize> = rows.iter().map(<[u8]>::len).collect();
    assert_eq!(lengths, [1, 2, 1, 3]);
}

#[test]
fn an_integer_that_does_not_fit_its_type_is_damage() {
    let codec = RowCodec::compact([DataType::Int64]).unwrap();
    let mut rows = Rows::default();
    codec
        .encode(&[array(Int64Array::from(vec![1 << 40]))], &mut rows)
        .unwrap();
    assert!(
        RowCodec::compact([DataType::Int32])
            .unwrap()
            .decode(rows.iter())
            .is_err()
    );
    for bytes in [&[0x29][..], &[0x16], &[0x22, 1], &[0x21, 1, 1]] {
        assert!(codec.decode([bytes]).is_err(), "{bytes:?}");
    }
}
