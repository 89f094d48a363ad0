//! Random rows against what deduplication does with each, written down row by row: by arrival and by event time, of
//! the first row and of the last one, with what updates take back and without it, with little memory and with
//! enough, and opened again on the store.

use std::collections::{BTreeMap, BTreeSet};

use millrace_core::RowKind::{Insert, UpdateAfter, UpdateBefore};
use millrace_dataflow::{Changelog, Deduplicate as Kept, Rank as Plan, RankStrategy};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Operator;
use super::deduplicate::Deduplicate;
use super::harness::{Change, Row, State, batch, changes, drain, row_type, state};
use crate::element::{Batch, Element};
use crate::metrics::TaskMetrics;

const COLUMNS: [&str; 3] = ["k", "t", "v"];

/// What is known of each key. What a watermark sets free at once comes in the order of its times, and between keys
/// in any order: changes are in groups, each of one row or of one watermark.
struct Model {
    kept: Kept,
    watermark: i64,
    rows: BTreeMap<Option<i64>, Row>,
    given: BTreeSet<Option<i64>>,
    late: u64,
    out: Vec<Vec<Change>>,
}

impl Model {
    fn row(&mut self, row: &Row) {
        let kept = self.kept;
        let (key, time) = (row[0], row[1]);
        let known = self.rows.get(&key);
        match (kept.keep_last, kept.rowtime) {
            (false, None) => {
                if known.is_none() {
                    self.out.push(vec![(Insert, row.clone())]);
                    self.rows.insert(key, row.clone());
                }
            }
            (true, by_time) => {
                // By arrival one that is the same is no news, by time one that is older.
                let is_news = match (known, by_time) {
                    (None, _) => true,
                    (Some(known), None) => known != row,
                    (Some(known), Some(_)) => known[1] <= time,
                };
                if is_news {
                    self.out.push(match known {
                        None => vec![(Insert, row.clone())],
                        Some(known) => vec![(UpdateBefore, known.clone()), (UpdateAfter, row.clone())],
                    });
                    self.rows.insert(key, row.clone());
                }
            }
            (false, Some(_)) => {
                if time.unwrap() < self.watermark {
                    self.late += 1;
                } else if !self.given.contains(&key) && known.is_none_or(|known| time < known[1]) {
                    self.rows.insert(key, row.clone());
                }
            }
        }
    }

    /// First rows are known once the watermark has come to them.
    fn advance(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(watermark);
        let kept = self.kept;
        if kept.keep_last || kept.rowtime.is_none() {
            return;
        }
        let due = self.rows.extract_if(.., |_, row| row[1].unwrap() <= watermark);
        let mut due: Vec<Row> = due.map(|(_, row)| row).collect();
        due.sort_by_key(|row| row[1]);
        for same_time in due.chunk_by(|a, b| a[1] == b[1]) {
            self.given.extend(same_time.iter().map(|row| row[0]));
            self.out
                .push(same_time.iter().map(|row| (Insert, row.clone())).collect());
        }
    }

    /// What is to come out, of what was found as much as there is: in the order of its group.
    fn take(&mut self, found: &mut [Change], update_before: bool) -> Vec<Change> {
        let mut expected = Vec::new();
        for mut group in self.out.drain(..) {
            group.retain(|(kind, _)| update_before || *kind != UpdateBefore);
            if group.iter().all(|(kind, _)| *kind == Insert) {
                group.sort_by(|(_, a), (_, b)| a.cmp(b));
                let from = expected.len().min(found.len());
                let to = (from + group.len()).min(found.len());
                found[from..to].sort_by(|(_, a), (_, b)| a.cmp(b));
            }
            expected.append(&mut group);
        }
        expected
    }
}

fn run(kept: Kept, update_before: bool, cache_bytes: usize, seed: u64) {
    let input = row_type(&COLUMNS);
    let plan = Plan {
        partition: vec![0],
        order: vec![],
        start: 1,
        end: 1,
        with_number: false,
        strategy: RankStrategy::AppendFast,
    };
    let changelog = Changelog {
        updates: kept.keep_last,
        before: update_before,
        deletes: false,
    };
    let metrics = TaskMetrics::new(["deduplicate".to_owned()]);
    let open = |state: &State| {
        Deduplicate::new(&plan, kept, changelog, &input, &state.backend, metrics.clone()).unwrap()
    };
    let mut random = StdRng::seed_from_u64(seed);
    let state = state(cache_bytes);
    let mut subject = open(&state);
    let mut model = Model {
        kept,
        watermark: i64::MIN,
        rows: BTreeMap::new(),
        given: BTreeSet::new(),
        late: 0,
        out: Vec::new(),
    };
    let mut now = 1000;
    let mut given = 0;
    for step in 0..200 {
        let context = format!("{kept:?} {update_before} {cache_bytes}, seed {seed}, step {step}");
        let (mut rows, mut watermarks): (Vec<Change>, Vec<i64>) = (Vec::new(), Vec::new());
        for _ in 0..random.random_range(1..8) {
            if random.random_bool(0.3) {
                now += random.random_range(0..6);
            }
            // New keys come as time goes on, and old ones come back.
            let newest = (now - 1000) / 4;
            let key = Some(newest - random.random_range(0..12)).filter(|key| *key >= 0);
            let row = vec![
                key,
                Some(now + random.random_range(-4..12)),
                Some(random.random_range(0..2)),
            ];
            model.advance(now);
            model.row(&row);
            rows.push((Insert, row));
            watermarks.push(now);
        }
        let batch = Batch {
            watermarks: Some(watermarks.into()),
            ..batch(&input, &rows)
        };
        let mut out = Vec::new();
        subject.batch(0, batch, &mut out).unwrap();
        drain(&mut subject, &mut out);
        let mut found = changes(out);
        given += found.len();
        assert_eq!(model.take(&mut found, update_before), found, "{context}");
        if random.random_bool(0.4) {
            now += random.random_range(0..6);
            model.advance(now);
            let mut out = Vec::new();
            subject.other(Element::Watermark(now), &mut out).unwrap();
            drain(&mut subject, &mut out);
            let last = out.pop();
            assert!(
                matches!(last, Some(Element::Watermark(at)) if at == now),
                "{context}"
            );
            let mut found = changes(out);
            given += found.len();
            assert_eq!(model.take(&mut found, update_before), found, "{context}");
        }
        assert_eq!(metrics.late_records.get(), model.late, "{context}");
        if random.random_bool(0.1) {
            subject.snapshot().unwrap();
            if random.random_bool(0.6) {
                subject = open(&state);
                // It is not stored: it comes again with the next row.
                model.watermark = i64::MIN;
            }
        }
    }
    assert!(given > 50, "{given} changes");
    let is_timed = !kept.keep_last && kept.rowtime.is_some();
    assert_eq!(model.late > 10, is_timed, "{} late rows", model.late);
}

#[test]
fn first_and_last_rows_are_those_of_a_model() {
    for keep_last in [false, true] {
        for rowtime in [None, Some(1)] {
            for (seed, cache_bytes) in [(0, 300), (1, 300), (2, 1 << 20)] {
                let kept = Kept { keep_last, rowtime };
                run(kept, true, cache_bytes, seed);
                run(kept, false, cache_bytes, seed);
            }
        }
    }
}
