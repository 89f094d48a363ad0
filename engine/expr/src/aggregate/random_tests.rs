//! Each function, over values of each type that it takes, against a plain one over the rows that are left, at
//! random: as rows come and go, with its state stored and loaded, and put together of parts.
//!
//! Layout: `model` values, rows and plain functions; `single` functions that not any rows will do for.

mod model;
mod single;

use arrow::array::Array;
use proptest::prelude::*;

use self::model::{Group, Numbers, POOLS, Pool, Row, Step, all_calls, backs, columns, naive, played, steps};
use super::tests::show;
use super::{AggregateCall, AggregateFunction, Calls, Entries, Grouped, HeapMaps};
use crate::Field;

#[test]
fn functions_take_many_types() {
    use AggregateFunction::*;
    let takers = |function: AggregateFunction| {
        let takes = |pool: &&Pool| all_calls(pool).iter().any(|call| call.function == function);
        POOLS.iter().filter(takes).count()
    };
    assert_eq!(takers(Count), POOLS.len());
    assert_eq!((takers(Sum), takers(Sum0), takers(Avg)), (10, 10, 10));
    assert_eq!((takers(Min), takers(Max)), (22, 22));
    assert_eq!((takers(FirstValue), takers(LastValue)), (12, 12));
    assert_eq!((takers(ArrayAgg), takers(Collect)), (POOLS.len(), POOLS.len()));
    assert_eq!((takers(ListAgg), takers(JsonArrayAgg)), (2, 2));
}

/// The calls with a state that was stored and is loaded.
fn reloaded(plan: &[AggregateCall], retracts: bool, calls: &Calls) -> Result<Calls, TestCaseError> {
    let stored = calls.store(&[0, 1, 2]).unwrap();
    let fields: Vec<Field> = calls.fields().collect();
    prop_assert_eq!(fields.len(), stored.len());
    for (field, column) in fields.iter().zip(&stored) {
        prop_assert_eq!(&field.data_type.to_arrow(), column.data_type());
    }
    let mut calls = Calls::new(plan, retracts).unwrap();
    calls.resize(3);
    calls.load(&[0, 1, 2], &stored).unwrap();
    Ok(calls)
}

fn check(pool: &Pool, steps: &[Step], batch: usize, retracts: bool) -> Result<(), TestCaseError> {
    let plan = all_calls(pool);
    let mut calls = Calls::new(&plan, retracts).unwrap();
    calls.resize(3);
    let mut maps = HeapMaps::default();
    maps.resize(3);
    let mut groups = vec![Group::default(); 3];
    let expected = |group: &Group, call: &AggregateCall| naive(pool, call, group.of(call));
    for part in played(steps).chunks(batch) {
        let slots: Vec<u32> = part.iter().map(|((group, ..), _)| *group).collect();
        let columns = columns(pool, part);
        let retract = backs(part);
        let mut counts: Vec<usize> = groups.iter().map(|group| group.values[0].len()).collect();
        let first: Vec<bool> = part
            .iter()
            .map(|((group, ..), back)| {
                let count = &mut counts[*group as usize];
                let first = *count == 0;
                if *back {
                    *count -= 1;
                } else {
                    *count += 1;
                }
                first
            })
            .collect();
        let grouped = Grouped {
            columns: &columns,
            slots: &slots,
            retract: retracts.then_some(&retract[..]),
            first: Some(&first),
            pass: None,
        };
        let (before, after) = calls.trace(&grouped, &mut maps).unwrap();
        for (row, (values, back)) in part.iter().enumerate() {
            let group = &mut groups[values.0 as usize];
            for (column, call) in before.iter().zip(&plan) {
                prop_assert_eq!(show(column, row), expected(group, call), "before: {:?}", call);
            }
            group.change(*values, *back);
            for (column, call) in after.iter().zip(&plan) {
                prop_assert_eq!(show(column, row), expected(group, call), "after: {:?}", call);
            }
        }
        // From here on with the state as it was stored.
        calls = reloaded(&plan, retracts, &calls)?;
        let values = calls.values(&[0, 1, 2], &mut maps).unwrap();
        for (column, call) in values.iter().zip(&plan) {
            prop_assert_eq!(column.data_type(), &call.data_type.to_arrow());
            for (slot, group) in groups.iter().enumerate().filter(|(_, group)| !group.is_empty()) {
                prop_assert_eq!(show(column, slot), expected(group, call), "stored: {:?}", call);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_function_is_what_a_recomputation_gives((pool, steps) in steps(false), batch in 1usize..20) {
        check(&POOLS[pool], &steps, batch, false)?;
    }

    #[test]
    fn and_so_it_is_where_rows_are_taken_back((pool, steps) in steps(true), batch in 1usize..20) {
        check(&POOLS[pool], &steps, batch, true)?;
    }

    /// A group in parts, each summed up by itself, is the group.
    #[test]
    fn states_that_merge_add_up((pool, steps) in steps(true), batch in 1usize..20, takes_back in any::<bool>()) {
        let pool = &POOLS[pool];
        let plan: Vec<AggregateCall> =
            all_calls(pool).into_iter().filter(|call| call.merges(takes_back)).collect();
        let is_number = !matches!(pool.numbers, Numbers::None);
        prop_assert_eq!(plan.iter().any(|call| call.function == AggregateFunction::Avg), is_number);
        let rows: Vec<(Row, bool)> = played(&steps).into_iter().filter(|(_, back)| takes_back || !back).collect();
        let mut whole = Calls::new(&plan, takes_back).unwrap();
        let mut none = HeapMaps::default();
        whole.resize(1);
        let mut group = Group::default();
        for part in rows.chunks(batch) {
            let mut local = Calls::new(&plan, takes_back).unwrap();
            local.resize(1);
            local.update(&Grouped {
                columns: &columns(pool, part),
                slots: &vec![0; part.len()],
                retract: Some(&backs(part)),
                first: None,
                pass: None,
            }, &mut none).unwrap();
            whole.merge(&[0], &local.store(&[0]).unwrap()).unwrap();
            for (row, back) in part {
                group.change(*row, *back);
            }
            for (column, call) in whole.values(&[0], &mut none).unwrap().iter().zip(&plan) {
                prop_assert_eq!(show(column, 0), naive(pool, call, group.of(call)), "{:?}", call);
            }
        }
    }

    /// Groups that become one, with their maps, are the group of all their rows.
    #[test]
    fn groups_with_maps_become_one((pool, steps) in steps(true), takes_back in any::<bool>()) {
        use AggregateFunction::*;
        let pool = &POOLS[pool];
        // Which of equal values came first nobody knows any more.
        let is_ordered = |call: &AggregateCall| {
            matches!(call.function, ListAgg | ArrayAgg | JsonArrayAgg | FirstValue | LastValue)
        };
        let plan: Vec<AggregateCall> =
            all_calls(pool).into_iter().filter(|call| !call.distinct || !is_ordered(call)).collect();
        let rows: Vec<(Row, bool)> = played(&steps).into_iter().filter(|(_, back)| takes_back || !back).collect();
        let mut calls = Calls::new(&plan, takes_back).unwrap();
        calls.resize(3);
        let mut maps = HeapMaps::default();
        maps.resize(3);
        let mut groups = vec![Group::default(); 3];
        let slots: Vec<u32> = rows.iter().map(|((group, ..), _)| *group).collect();
        let retract = backs(&rows);
        let grouped = Grouped {
            columns: &columns(pool, &rows),
            slots: &slots,
            retract: takes_back.then_some(&retract[..]),
            first: None,
            pass: None,
        };
        calls.update(&grouped, &mut maps).unwrap();
        for (row, back) in &rows {
            groups[row.0 as usize].change(*row, *back);
        }
        let states = calls.store(&[1, 2]).unwrap();
        let entries = [1, 2].map(|slot| Entries::of(slot, &mut maps).unwrap());
        calls.absorb(&[0, 0], &states, &entries, &mut maps).unwrap();
        let mut all = Group::default();
        for group in &groups {
            for filtered in 0..2 {
                all.values[filtered].extend(&group.values[filtered]);
                for value in &group.once[filtered] {
                    if !all.once[filtered].contains(value) {
                        all.once[filtered].push(*value);
                    }
                }
            }
        }
        for (column, call) in calls.values(&[0], &mut maps).unwrap().iter().zip(&plan) {
            prop_assert_eq!(show(column, 0), naive(pool, call, all.of(call)), "{:?}", call);
        }
        // Rows of any of them go from the one.
        let mut live: Vec<Row> = Vec::new();
        for (row, back) in &rows {
            match back {
                false => live.push(*row),
                true => drop(live.remove(live.iter().position(|known| known == row).unwrap())),
            }
        }
        for row in live.into_iter().rev().filter(|_| takes_back) {
            let grouped = Grouped {
                columns: &columns(pool, &[(row, true)]),
                slots: &[0],
                retract: Some(&[true]),
                first: None,
                pass: None,
            };
            calls.update(&grouped, &mut maps).unwrap();
            all.change(row, true);
            for (column, call) in calls.values(&[0], &mut maps).unwrap().iter().zip(&plan) {
                prop_assert_eq!(show(column, 0), naive(pool, call, all.of(call)), "left: {:?}", call);
            }
        }
    }
}
