//! Operators with keyed state, tested row by row: rows of numbers in, changes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampMillisecondArray, UInt8Array};
use arrow::datatypes::{DataType as ArrowType, Int64Type, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use millrace_connector_api::ChangeBatch;
use millrace_core::{CheckpointId, RowKind};
use millrace_expr::{DataType, Field, RowType, TypeKind};
use millrace_state::job::{JobStore, StateWriter};
use millrace_state::keyed::{Clock, KeyedBackend, KeyedFiles, KeyedResources, Lifetimes, Limits};
use millrace_state::local::LocalStore;

use super::{BATCH, Operator};
use crate::changes::kind_of;
use crate::element::{Batch, Element};

pub type Row = Vec<Option<i64>>;
pub type Change = (RowKind, Row);

/// A folder with an operator's state, which outlives the operator.
pub struct State {
    pub backend: KeyedBackend,
    // Behind the store, for it goes after it.
    _folder: tempfile::TempDir,
}

/// A folder in memory where there is such a place: stores wait for the disk each time they are opened.
pub fn folder() -> tempfile::TempDir {
    match std::path::Path::new("/dev/shm") {
        memory if memory.is_dir() => tempfile::tempdir_in(memory)
            .or_else(|_| tempfile::tempdir())
            .unwrap(),
        _ => tempfile::tempdir().unwrap(),
    }
}

pub fn state(cache_bytes: usize) -> State {
    state_with(cache_bytes, &Lifetimes::default(), &Clock::System)
}

/// State whose rows expire by a clock.
pub fn state_with(cache_bytes: usize, lifetimes: &Lifetimes, clock: &Clock) -> State {
    let folder = folder();
    let resources = KeyedResources {
        limits: Limits::new(8 << 20),
        folder: folder.path().to_owned(),
        cache_bytes,
        checkpoints: None,
        own: None,
        clock: clock.clone(),
    };
    let backend = resources.open("operator", lifetimes, 0..16, 16, &[]).unwrap();
    State {
        _folder: folder,
        backend,
    }
}

/// Where the state of an operator with all key groups is kept, over restores.
pub struct Storage {
    writer: StateWriter,
    resources: KeyedResources,
    next: u64,
    _folder: tempfile::TempDir,
}

impl Storage {
    const MAX_PARALLELISM: u16 = 128;

    pub fn new(cache_bytes: usize, clock: &Clock) -> Self {
        let folder = folder();
        let store = Arc::new(LocalStore::new(folder.path()));
        Storage {
            writer: StateWriter::new(JobStore::new(store.clone(), "job")),
            resources: KeyedResources {
                limits: Limits::new(8 << 20),
                folder: folder.path().join("keyed"),
                cache_bytes,
                checkpoints: Some(store),
                own: None,
                clock: clock.clone(),
            },
            next: 1,
            _folder: folder,
        }
    }

    pub fn open(&self, lifetimes: &Lifetimes, restored: &[KeyedFiles]) -> KeyedBackend {
        let most = Self::MAX_PARALLELISM;
        let opened = self
            .resources
            .open("operator", lifetimes, 0..most, most, restored);
        opened.unwrap()
    }

    /// Of what the operator has written.
    pub fn checkpoint(&mut self, backend: &KeyedBackend) -> KeyedFiles {
        let id = CheckpointId(self.next);
        self.next += 1;
        backend.snapshot(id, None).put_away(&self.writer).unwrap()
    }
}

/// Columns of numbers; those whose name begins with `t` are times.
pub fn row_type(names: &[&str]) -> RowType {
    let field = |name: &&str| {
        let kind = match name.starts_with('t') {
            true => TypeKind::Timestamp(3),
            false => TypeKind::BigInt,
        };
        Field::new(*name, DataType { kind, nullable: true })
    };
    RowType::new(names.iter().map(field).collect())
}

pub fn batch(row_type: &RowType, changes: &[Change]) -> Batch {
    let schema = row_type.to_arrow();
    let column = |i: usize| -> ArrayRef {
        let values = changes.iter().map(|(_, row)| row[i]);
        match schema.field(i).data_type() {
            ArrowType::Int64 => Arc::new(Int64Array::from_iter(values)),
            _ => Arc::new(TimestampMillisecondArray::from_iter(values)),
        }
    };
    let columns = (0..schema.fields().len()).map(column).collect();
    let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let kinds = changes
        .iter()
        .any(|(kind, _)| *kind != RowKind::Insert)
        .then(|| UInt8Array::from_iter_values(changes.iter().map(|(kind, _)| *kind as u8)));
    ChangeBatch { rows, kinds }.into()
}

/// The changes among elements.
pub fn changes(elements: Vec<Element>) -> Vec<Change> {
    let mut changes = Vec::new();
    for element in elements {
        let Element::Batch(batch) = element else { continue };
        for row in 0..batch.change.len() {
            let value = |column: &ArrayRef| match column.data_type() {
                _ if column.is_null(row) => None,
                ArrowType::Int64 => Some(column.as_primitive::<Int64Type>().value(row)),
                _ => Some(column.as_primitive::<TimestampMillisecondType>().value(row)),
            };
            let values = batch.change.rows.columns().iter().map(value).collect();
            changes.push((kind_of(&batch.change, row), values));
        }
    }
    changes
}

/// What comes out of an operator for some rows.
pub fn feed(operator: &mut dyn Operator, input: usize, row_type: &RowType, given: &[Change]) -> Vec<Change> {
    let mut out = Vec::new();
    operator.batch(input, batch(row_type, given), &mut out).unwrap();
    drain(operator, &mut out);
    changes(out)
}

/// What is left of what it has begun.
pub fn drain(operator: &mut dyn Operator, out: &mut Vec<Element>) {
    while operator.has_more() {
        let mut more = Vec::new();
        operator.resume(&mut more).unwrap();
        out.append(&mut more);
    }
}

/// What comes out of an operator for an element, by the pieces in which it goes out; `between` looks at the operator
/// after each.
pub fn pieces<O: Operator>(
    operator: &mut O,
    input: usize,
    element: Element,
    mut between: impl FnMut(&O),
) -> Vec<Vec<Change>> {
    let (mut pieces, mut out) = (Vec::new(), Vec::new());
    match element {
        Element::Batch(batch) => operator.batch(input, batch, &mut out).unwrap(),
        other => operator.other(other, &mut out).unwrap(),
    }
    loop {
        between(operator);
        pieces.push(changes(std::mem::take(&mut out)));
        if !operator.has_more() {
            return pieces;
        }
        operator.resume(&mut out).unwrap();
    }
}

/// Sees to it that nothing goes out but a batch at a time, and much as several.
pub fn assert_paced(pieces: &[Vec<Change>]) {
    let rows: usize = pieces.iter().map(Vec::len).sum();
    let most = pieces.iter().map(Vec::len).max().unwrap_or(0);
    assert!(most < 2 * BATCH, "{most} of {rows} rows go out at once");
    assert!(pieces.len() >= rows.div_ceil(2 * BATCH));
}

/// What comes out of an operator for a watermark.
pub fn watermark(operator: &mut dyn Operator, time: i64) -> Vec<Change> {
    let mut out = Vec::new();
    operator.other(Element::Watermark(time), &mut out).unwrap();
    drain(operator, &mut out);
    changes(out)
}

/// What an operator of windows gives and has not been compared yet: in the order of the windows' ends, and never
/// behind a watermark that it has sent on with which the window was over.
pub struct Fired {
    changes: Vec<Change>,
    /// The end of the window that a result is of.
    end: fn(&Row) -> i64,
    last_end: i64,
    sent: i64,
}

impl Fired {
    pub fn new(end: fn(&Row) -> i64) -> Self {
        Fired {
            changes: Vec::new(),
            end,
            last_end: i64::MIN,
            sent: i64::MIN,
        }
    }

    /// Hands an element in and takes all that comes out for it.
    pub fn feed(&mut self, operator: &mut dyn Operator, input: usize, element: Element) {
        let mut out = Vec::new();
        match element {
            Element::Batch(batch) => operator.batch(input, batch, &mut out).unwrap(),
            other => operator.other(other, &mut out).unwrap(),
        }
        drain(operator, &mut out);
        for element in out {
            if let Element::Watermark(watermark) = element {
                self.sent = self.sent.max(watermark);
            }
            for change in changes(vec![element]) {
                let end = (self.end)(&change.1);
                assert!(end - 1 > self.sent, "{change:?} is late behind {}", self.sent);
                assert!(
                    end >= self.last_end,
                    "{change:?} follows what ends at {}",
                    self.last_end
                );
                self.last_end = end;
                self.changes.push(change);
            }
        }
    }

    /// What is not compared yet, in its order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Behind a watermark there is what the windows give that are over, and nothing else. Both are forgotten.
    pub fn assert_is(&mut self, expected: &mut Vec<Change>, context: &str) {
        let (found, expected) = (counted(self.changes.drain(..)), counted(expected.drain(..)));
        assert_eq!(found, expected, "{context}");
    }

    /// Between watermarks results may wait, but none is there of a window that is not over.
    pub fn assert_within(&self, expected: &[Change], context: &str) {
        let known = counted(expected.iter().cloned());
        for (change, count) in counted(self.changes.iter().cloned()) {
            let most = known.get(&change).copied().unwrap_or_default();
            assert!(
                count <= most,
                "{context}: {change} is given {count} times, not {most}"
            );
        }
    }
}

/// How often each change is there, as text.
fn counted(changes: impl Iterator<Item = Change>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for change in changes {
        *counted.entry(shown(&[change]).remove(0)).or_default() += 1;
    }
    counted
}

/// A change as text: `+I 1 2 -`.
pub fn shown(changes: &[Change]) -> Vec<String> {
    let value = |value: &Option<i64>| value.map_or("-".to_owned(), |v| v.to_string());
    let row = |(kind, row): &Change| {
        let values: Vec<String> = row.iter().map(value).collect();
        format!("{} {}", kind.short(), values.join(" "))
    };
    changes.iter().map(row).collect()
}

pub fn insert(row: &[i64]) -> Change {
    change(RowKind::Insert, row)
}

pub fn change(kind: RowKind, row: &[i64]) -> Change {
    (kind, row.iter().map(|v| (*v >= 0).then_some(*v)).collect())
}

/// A table as a changelog builds it: each row and how often it is there, which is never below zero.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Table(pub BTreeMap<Row, i64>);

impl Table {
    pub fn apply(&mut self, changes: &[Change]) {
        for (kind, row) in changes {
            let count = self.0.entry(row.clone()).or_default();
            *count += match kind {
                RowKind::Insert | RowKind::UpdateAfter => 1,
                RowKind::UpdateBefore | RowKind::Delete => -1,
            };
            assert!(*count >= 0, "{row:?} is taken back and is not there");
            if *count == 0 {
                self.0.remove(row);
            }
        }
    }

    pub fn of(rows: impl IntoIterator<Item = Row>) -> Table {
        let mut table = Table::default();
        let rows: Vec<Change> = rows.into_iter().map(|row| (RowKind::Insert, row)).collect();
        table.apply(&rows);
        table
    }

    /// All rows, as often as they are there.
    pub fn rows(&self) -> Vec<&Row> {
        let times = |(row, count): (_, &i64)| std::iter::repeat_n(row, *count as usize);
        self.0.iter().flat_map(times).collect()
    }
}
