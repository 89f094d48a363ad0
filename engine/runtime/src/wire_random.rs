//! Elements of all kinds through their bytes, and bytes that no element has.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, MapBuilder,
    RecordBatch, StringArray, StringBuilder, StructArray, TimestampMillisecondArray, UInt8Array,
};
use arrow::array::{Int32Builder, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Int64Type};
use millrace_connector_api::ChangeBatch;
use millrace_core::CheckpointId;
use proptest::prelude::*;

use crate::element::{Barrier, Batch, Element};
use crate::wire::Wire;

type Cell = (Option<i64>, Option<String>, bool, Vec<Option<i64>>);

/// A column of each form that SQL's types have.
fn rows(cells: &[Cell]) -> RecordBatch {
    let numbers: Int64Array = cells.iter().map(|cell| cell.0).collect();
    let texts: StringArray = cells.iter().map(|cell| cell.1.as_deref()).collect();
    let bytes: BinaryArray = cells
        .iter()
        .map(|cell| cell.1.as_deref().map(str::as_bytes))
        .collect();
    let flags: BooleanArray = cells.iter().map(|cell| cell.0.map(|_| cell.2)).collect();
    let doubles: Float64Array = cells.iter().map(|cell| cell.0.map(|n| n as f64 / 3.0)).collect();
    let times: TimestampMillisecondArray = cells.iter().map(|cell| cell.0).collect();
    let decimals: Decimal128Array = cells.iter().map(|cell| cell.0.map(i128::from)).collect();
    let lists = cells.iter().map(|cell| cell.1.as_ref().map(|_| cell.3.clone()));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for (n, text, is_there, list) in cells {
        for (i, _) in list.iter().enumerate() {
            maps.keys().append_value(format!("{text:?}{i}"));
            maps.values().append_option(n.map(|n| n as i32));
        }
        maps.append(*is_there).unwrap();
    }
    let row = StructArray::from(vec![(
        Arc::new(Field::new("f", DataType::Int64, true)),
        Arc::new(numbers.clone()) as ArrayRef,
    )]);
    let columns: [(&str, ArrayRef); 10] = [
        ("numbers", Arc::new(numbers)),
        ("texts", Arc::new(texts)),
        ("bytes", Arc::new(bytes)),
        ("flags", Arc::new(flags)),
        ("doubles", Arc::new(doubles)),
        ("times", Arc::new(times)),
        ("decimals", Arc::new(decimals)),
        ("lists", Arc::new(lists)),
        ("maps", Arc::new(maps.finish())),
        ("row", Arc::new(row)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn batches() -> impl Strategy<Value = Batch> {
    let cell = (
        any::<Option<i64>>(),
        any::<Option<String>>(),
        any::<bool>(),
        prop::collection::vec(any::<Option<i64>>(), 0..3),
    );
    let cells = prop::collection::vec(cell, 0..20);
    (
        cells,
        any::<[bool; 4]>(),
        any::<prop::sample::Index>(),
        any::<u64>(),
    )
        .prop_map(|(cells, [kinds, splits, watermarks, part], cut, seed)| {
            let mut rows = rows(&cells);
            // A slice has buffers that begin before it.
            if part && rows.num_rows() > 0 {
                let from = cut.index(rows.num_rows());
                rows = rows.slice(from, rows.num_rows() - from);
            }
            let count = rows.num_rows();
            let of_row = |i: usize| seed.wrapping_mul(i as u64 + 1);
            Batch {
                change: ChangeBatch {
                    rows,
                    kinds: kinds
                        .then(|| UInt8Array::from_iter_values((0..count).map(|i| (of_row(i) % 4) as u8))),
                },
                splits: splits.then(|| (0..count).map(|i| (of_row(i) as u32, 1)).collect()),
                watermarks: watermarks.then(|| (0..count).map(|i| of_row(i) as i64).collect()),
            }
        })
}

fn others() -> impl Strategy<Value = Element> {
    prop_oneof![
        any::<i64>().prop_map(Element::Watermark),
        Just(Element::Idle),
        Just(Element::EndOfInput),
        any::<Vec<u32>>().prop_map(|splits| Element::Splits(splits.into())),
        (any::<u64>(), any::<i64>(), any::<[bool; 2]>(), 0..3u64).prop_map(
            |(checkpoint, timestamp, [stop, drain], complete)| {
                Element::Barrier(Barrier {
                    checkpoint: CheckpointId(checkpoint),
                    timestamp,
                    stop,
                    drain,
                    complete: (complete > 0).then_some(CheckpointId(complete)),
                })
            }
        ),
    ]
}

fn wire() -> Wire {
    Wire::new(rows(&[]).schema())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_batch_comes_as_it_was(batch in batches()) {
        let bytes = wire().encode(&Element::Batch(batch.clone())).unwrap();
        let Element::Batch(came) = wire().decode(&bytes).unwrap() else { panic!("no batch") };
        prop_assert_eq!(came.change.rows, batch.change.rows);
        prop_assert_eq!(came.change.kinds, batch.change.kinds);
        prop_assert_eq!(came.splits, batch.splits);
        prop_assert_eq!(came.watermarks, batch.watermarks);
    }

    #[test]
    fn what_is_no_batch_comes_as_it_was(element in others()) {
        let came = wire().decode(&wire().encode(&element).unwrap()).unwrap();
        prop_assert_eq!(format!("{came:?}"), format!("{element:?}"));
    }

    #[test]
    fn bytes_of_nobody_are_an_error(bytes in any::<Vec<u8>>()) {
        prop_assert!(wire().decode(&bytes).is_err());
        prop_assert!(wire().decode(&[&[1, 0], bytes.as_slice()].concat()).is_err());
    }

    #[test]
    fn an_altered_or_cut_frame_is_an_error(
        batch in batches(), element in others(), at in any::<prop::sample::Index>(), with in 1..=u8::MAX
    ) {
        for element in [Element::Batch(batch), element] {
            let bytes = wire().encode(&element).unwrap();
            let place = at.index(bytes.len());
            prop_assert!(wire().decode(&bytes[..place]).is_err());
            let mut altered = bytes.clone();
            altered[place] ^= with;
            prop_assert!(wire().decode(&altered).is_err(), "byte {} of {}", place, bytes.len());
        }
    }

    /// With the checksum of what was altered: as one would send it who means it.
    #[test]
    fn a_frame_that_was_made_wrong_is_no_panic(
        batch in batches(), places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut bytes = wire().encode(&Element::Batch(batch)).unwrap();
        bytes.truncate(bytes.len() - 8);
        for (at, with) in places {
            let place = at.index(bytes.len());
            bytes[place] = with;
        }
        let _ = wire().decode(&Wire::sealed(bytes));
    }
}

#[test]
fn rows_without_columns_come_as_many() {
    let schema = Arc::new(arrow::datatypes::Schema::empty());
    let options = RecordBatchOptions::new().with_row_count(Some(9));
    let rows = RecordBatch::try_new_with_options(schema.clone(), vec![], &options).unwrap();
    let wire = Wire::new(schema);
    let bytes = wire
        .encode(&Element::Batch(ChangeBatch::inserts(rows).into()))
        .unwrap();
    match wire.decode(&bytes).unwrap() {
        Element::Batch(batch) => assert_eq!(batch.change.len(), 9),
        other => panic!("{other:?}"),
    }
}
