//! Functions that not any rows will do for: SINGLE_VALUE takes one, JSON_OBJECTAGG each key once; and sums of doubles,
//! which depend on the order of their rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, StructArray};
use proptest::prelude::*;

use super::super::tests::{call, show};
use super::super::{AggregateFunction, Calls, Entries, Grouped, HeapMaps};
use super::model::{POOLS, Row, Step, backs, columns, steps};
use super::reloaded;
use crate::{DataType, Field, TypeKind};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Any doubles are added and taken away in the order in which rows come and go, and are then about the sum of
    /// those that are left.
    #[test]
    fn doubles_are_added_in_the_order_of_their_rows(
        rows in prop::collection::vec((-1e9f64..1e9, prop::option::of(any::<usize>())), 1..60),
        batch in 1usize..20,
    ) {
        let plan = [AggregateFunction::Sum, AggregateFunction::Avg].map(|f| call(f, Some(DataType::double())));
        let (mut live, mut played, mut in_order, mut most) = (Vec::new(), Vec::new(), 0.0, 0.0);
        let mut calls = Calls::new(&plan, true).unwrap();
        calls.resize(3);
        let mut maps = HeapMaps::default();
        for (value, back) in rows {
            live.push(value);
            played.push((value, false));
            if let Some(at) = back {
                played.push((live.swap_remove(at % live.len()), true));
            }
        }
        live.clear();
        for part in played.chunks(batch) {
            let values: ArrayRef = Arc::new(Float64Array::from_iter_values(part.iter().map(|(value, _)| *value)));
            let retract: Vec<bool> = part.iter().map(|(_, back)| *back).collect();
            calls.update(&Grouped {
                columns: &[values],
                slots: &vec![1; part.len()],
                retract: Some(&retract),
                first: None,
                pass: None,
            }, &mut maps).unwrap();
            for (value, back) in part {
                match back {
                    false => live.push(*value),
                    true => drop(live.swap_remove(live.iter().position(|v| v == value).unwrap())),
                }
                in_order += if *back { -value } else { *value };
                most = f64::max(most, live.iter().map(|v: &f64| v.abs()).sum());
            }
            calls = reloaded(&plan, true, &calls)?;
            let found = calls.values(&[1], &mut maps).unwrap();
            let shown = |value: f64| match live.is_empty() {
                true => "NULL".to_owned(),
                false => show(&(Arc::new(Float64Array::from(vec![value])) as ArrayRef), 0),
            };
            prop_assert_eq!(show(&found[0], 0), shown(in_order));
            prop_assert_eq!(show(&found[1], 0), shown(in_order / live.len() as f64));
            let left: f64 = live.iter().sum();
            prop_assert!((in_order - left).abs() <= 1e-12 * most, "{in_order} is not {left}");
        }
    }

    /// Of a group that has one row at most it is the value of that.
    #[test]
    fn single_values_come_and_go((pool, steps) in steps(true), batch in 1usize..20) {
        let pool = &POOLS[pool];
        let plan = [call(AggregateFunction::SingleValue, Some(pool.data_type.clone()))];
        let mut calls = Calls::new(&plan, true).unwrap();
        calls.resize(3);
        let mut maps = HeapMaps::default();
        maps.resize(3);
        let mut live: [Option<Row>; 3] = [None; 3];
        let mut rows = Vec::new();
        let mut second = None;
        for step in steps {
            let (row, back) = match step {
                Step::Insert(row) => (row, false),
                Step::Retract(at) => match live[at % 3] {
                    Some(row) => (row, true),
                    None => continue,
                },
            };
            let known = &mut live[row.0 as usize];
            if known.is_some() && !back {
                second = second.or(Some(row));
                continue;
            }
            *known = (!back).then_some(row);
            rows.push((row, back));
        }
        let mut live: [Option<Row>; 3] = [None; 3];
        for part in rows.chunks(batch) {
            let slots: Vec<u32> = part.iter().map(|((group, ..), _)| *group).collect();
            let grouped = Grouped {
                columns: &columns(pool, part),
                slots: &slots,
                retract: Some(&backs(part)),
                first: None,
                pass: None,
            };
            let (before, after) = calls.trace(&grouped, &mut maps).unwrap();
            let shown = |row: &Option<Row>| {
                let value = row.and_then(|(_, value, _)| value);
                value.map_or("NULL".to_owned(), |at| pool.texts[at].clone())
            };
            for (at, (row, back)) in part.iter().enumerate() {
                let known = &mut live[row.0 as usize];
                prop_assert_eq!(show(&before[0], at), shown(known));
                *known = (!back).then_some(*row);
                prop_assert_eq!(show(&after[0], at), shown(known));
            }
            calls = reloaded(&plan, true, &calls)?;
            let values = calls.values(&[0, 1, 2], &mut maps).unwrap();
            for (slot, row) in live.iter().enumerate() {
                prop_assert_eq!(show(&values[0], slot), shown(row));
            }
        }
        // A second one is refused, null or not.
        if let Some(row) = second && live[row.0 as usize].is_some() {
            let grouped = Grouped {
                columns: &columns(pool, &[(row, false)]),
                slots: &[row.0],
                retract: None,
                first: None,
                pass: None,
            };
            prop_assert!(calls.update(&grouped, &mut maps).is_err());
        }
    }
}

/// Keys as they are, and as JSON; in the order of their bytes.
const KEYS: [(&str, &str); 6] = [
    ("", r#""""#),
    ("\"\0", r#""\"\u0000""#),
    ("a", r#""a""#),
    ("a\0", r#""a\u0000""#),
    ("b\\", r#""b\\""#),
    ("\u{e9}", "\"\u{e9}\""),
];
const VALUES: [&str; 4] = ["1", "[\"x\"]", "{}", "\"\u{e9}\""];

proptest! {
    /// Rows of keys that are once in a group; of two groups in one they are of different groups.
    #[test]
    fn json_objects_have_the_rows_that_are_left(
        steps in prop::collection::vec((0..3u32, 0..KEYS.len(), prop::option::of(0..VALUES.len())), 1..60),
        batch in 1usize..20,
        ignore_nulls in any::<bool>(),
    ) {
        let arg_type = DataType::not_null(TypeKind::Row(vec![
            Field::new("key", DataType::string()),
            Field::new("value", DataType::string()),
        ]));
        let mut object = call(AggregateFunction::JsonObjectAgg, Some(arg_type.clone()));
        object.parameters.ignore_nulls = ignore_nulls;
        let plan = [object];
        let columns = |rows: &[(u32, usize, Option<usize>, bool)]| -> Vec<ArrayRef> {
            let arrow::datatypes::DataType::Struct(fields) = arg_type.to_arrow() else {
                unreachable!()
            };
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| KEYS[row.1].0))),
                Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.map(|value| VALUES[value])))),
            ];
            vec![Arc::new(StructArray::new(fields, columns, None))]
        };
        type Object = BTreeMap<usize, Option<usize>>;
        let shown = |object: &Object| {
            let entries = object.iter().filter(|(_, value)| value.is_some() || !ignore_nulls);
            let entries = entries.map(|(key, value)| format!("{}:{}", KEYS[*key].1, value.map_or("null", |v| VALUES[v])));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        };
        let mut calls = Calls::new(&plan, true).unwrap();
        calls.resize(3);
        let mut maps = HeapMaps::default();
        maps.resize(3);
        let mut live: [Object; 3] = Default::default();
        // A key that is there goes, with its value.
        let mut rows = Vec::new();
        for (group, key, value) in steps {
            let key = if group == 0 { key } else { key - key % 2 + group as usize % 2 };
            let object = &mut live[group as usize];
            match object.remove(&key) {
                Some(value) => rows.push((group, key, value, true)),
                None => {
                    object.insert(key, value);
                    rows.push((group, key, value, false));
                }
            }
        }
        let mut live: [Object; 3] = Default::default();
        for part in rows.chunks(batch) {
            let slots: Vec<u32> = part.iter().map(|row| row.0).collect();
            let retract: Vec<bool> = part.iter().map(|row| row.3).collect();
            let grouped = Grouped {
                columns: &columns(part),
                slots: &slots,
                retract: Some(&retract),
                first: None,
                pass: None,
            };
            let (before, after) = calls.trace(&grouped, &mut maps).unwrap();
            for (at, (group, key, value, back)) in part.iter().enumerate() {
                let object = &mut live[*group as usize];
                prop_assert_eq!(show(&before[0], at), shown(object));
                match back {
                    true => drop(object.remove(key)),
                    false => drop(object.insert(*key, *value)),
                }
                prop_assert_eq!(show(&after[0], at), shown(object));
            }
            calls = reloaded(&plan, true, &calls)?;
        }
        // A key that is there is refused.
        if let Some((key, _)) = live[0].iter().find(|(_, value)| value.is_some()) {
            let grouped = Grouped {
                columns: &columns(&[(0, *key, Some(0), false)]),
                slots: &[0],
                retract: None,
                first: None,
                pass: None,
            };
            prop_assert!(calls.update(&grouped, &mut maps).is_err());
        }
        let states = calls.store(&[2]).unwrap();
        let entries = [Entries::of(2, &mut maps).unwrap()];
        calls.absorb(&[1], &states, &entries, &mut maps).unwrap();
        let [_, mut one, other] = live;
        one.extend(other);
        prop_assert_eq!(show(&calls.values(&[1], &mut maps).unwrap()[0], 0), shown(&one));
    }
}
