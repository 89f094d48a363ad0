//! Joins of rows of the same window, as Flink's `WindowJoinOperator` gives them: both sides are kept for
//! each window and key, and meet once the watermark has passed the window's end. Rows that come later are
//! dropped and counted.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::datatypes::SchemaRef;
use millrace_connector_api::ChangeBatch;
use millrace_core::row::Rows;
use millrace_core::{Result, RowKind};
use millrace_dataflow::{JoinKey, JoinKind, WindowColumns, WindowJoin as Plan};
use millrace_expr::RowType;
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_state::keyed::{KeyedBackend, MapTable};

use super::join::joined::{Joined, joined_schema};
use super::paced::{Paced, Timely};
use super::window_rows::{Placed, WindowRows};
use super::{BATCH, BATCH_BYTES, now_millis};
use crate::changes::WholeRows;
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::metrics::TaskMetrics;
use crate::timers::Timer;
use crate::windows::Windows;

pub struct WindowJoin {
    kind: JoinKind,
    left: Side,
    right: Side,
    condition: Option<Program>,
    arrivals: WindowRows,
    /// A window and key whose rows are meeting.
    meeting: Option<Meeting>,
    joined: SchemaRef,
    schema: SchemaRef,
}

struct Side {
    keys: Keys,
    windows: Windows,
    rows: WholeRows,
    /// Of each window and key the rows, by the number of their arrival.
    table: MapTable,
    /// Key columns in which a null equals nothing.
    strict: Vec<usize>,
}

/// The rows of a window and key; the left ones up to `next` have met all of the right ones.
struct Meeting {
    left: Vec<Box<[u8]>>,
    right: Vec<Box<[u8]>>,
    next: usize,
    has_partner: Vec<bool>,
    /// A key with a null meets nothing.
    never: bool,
}

pub struct Arriving {
    is_left: bool,
    placed: Placed,
    rows: Rows,
    /// Rows of a key part of which is null, and so equals nothing.
    never: Vec<bool>,
}

impl Side {
    fn open(
        name: &str,
        columns: Vec<(usize, bool)>,
        window: &WindowColumns,
        input: &RowType,
        session: &Session,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let schema = input.to_arrow();
        let of_keys: Vec<usize> = columns.iter().map(|(column, _)| *column).collect();
        Ok(Side {
            keys: Keys::new(&of_keys, &schema)?,
            windows: Windows::given(window, session.time_zone),
            rows: WholeRows::new(&schema)?,
            table: MapTable::open(&backend.store, name, backend.row_bytes(1) / 2)?,
            strict: columns
                .into_iter()
                .filter(|(_, null_safe)| !null_safe)
                .map(|(column, _)| column)
                .collect(),
        })
    }

    /// Rows of a key part of which is null, and so equals nothing.
    fn never(&self, batch: &Batch) -> Vec<bool> {
        let columns = batch.change.rows.columns();
        let is_null = |row: usize| self.strict.iter().any(|c| columns[*c].is_null(row));
        (0..batch.change.len()).map(is_null).collect()
    }

    /// Takes all rows of a window and key out, and says whether they equal nothing.
    fn take(&mut self, timer: &Timer) -> Result<(Vec<Box<[u8]>>, bool)> {
        let slot = self.table.resolve_one(&timer.key, timer.group)?;
        let (mut rows, mut numbers, mut never) = (Vec::new(), Vec::new(), false);
        for (number, stored) in self.table.iter(slot) {
            numbers.push(number.to_vec());
            if let Some((flag, row)) = stored.split_first() {
                never |= *flag == 1;
                rows.push(row.into());
            }
        }
        numbers.iter().for_each(|number| self.table.remove(slot, number));
        Ok((rows, never))
    }
}

impl WindowJoin {
    /// `restored` are the entries of all subtasks.
    pub fn open(
        plan: &Plan,
        inputs: [&RowType; 2],
        output: &RowType,
        session: &Session,
        backend: &KeyedBackend,
        restored: Option<&[Vec<u8>]>,
        metrics: Arc<TaskMetrics>,
    ) -> Result<Paced<Self>> {
        let columns = |side: fn(&JoinKey) -> usize| {
            let keys = plan.keys.iter();
            keys.map(|key| (side(key), key.null_safe)).collect::<Vec<_>>()
        };
        let left = Side::open(
            "left",
            columns(|k| k.left),
            &plan.left,
            inputs[0],
            session,
            backend,
        )?;
        let right = Side::open(
            "right",
            columns(|k| k.right),
            &plan.right,
            inputs[1],
            session,
            backend,
        )?;
        let arrivals = WindowRows::open(backend, &left.windows, restored, metrics)?;
        let condition = plan.condition.as_ref();
        Ok(Paced::new(
            backend.clock(),
            WindowJoin {
                kind: plan.kind,
                left,
                right,
                condition: condition.map(|c| Program::compile(c, session)).transpose()?,
                arrivals,
                meeting: None,
                joined: joined_schema(inputs),
                schema: output.to_arrow(),
            },
        ))
    }

    /// The next left rows meet the right ones; whether there are more.
    fn meet(&self, meeting: &mut Meeting, out: &mut Joined) -> Result<bool> {
        let (left, right) = (&meeting.left, &meeting.right);
        let each = match meeting.never {
            true => 0,
            false => right.len(),
        };
        // Each left row stands beside each right one, so that their bytes are as many times in the pairs.
        let bytes_of = |rows: &[Box<[u8]>]| rows.iter().map(|row| row.len()).sum::<usize>();
        let row_bytes = bytes_of(right) + each * bytes_of(left) / left.len().max(1);
        let fitting = (BATCH / each.max(1)).min(BATCH_BYTES / row_bytes.max(1));
        let count = fitting.max(1).min(left.len() - meeting.next);
        let part = meeting.next..meeting.next + count;
        meeting.next = part.end;
        let mask = match (&self.condition, each) {
            (Some(condition), 1..) => {
                let mut candidates = Joined::default();
                for row in &left[part.clone()] {
                    for other in right {
                        candidates.push(RowKind::Insert, Some(row), Some(other));
                    }
                }
                match candidates.take(&self.left.rows, &self.right.rows, &self.joined)? {
                    None => None,
                    Some((rows, _)) => {
                        let evaluation = Evaluation {
                            now_millis: now_millis(),
                        };
                        Some(condition.filter_mask(&rows, &evaluation)?)
                    }
                }
            }
            _ => None,
        };
        let meets = |mask: &Option<BooleanArray>, pair: usize| mask.as_ref().is_none_or(|m| m.value(pair));
        for (at, row) in left[part].iter().enumerate() {
            let mut met = false;
            for (number, other) in right[..each].iter().enumerate() {
                if !meets(&mask, at * each + number) {
                    continue;
                }
                met = true;
                if self.kind.is_left_only() {
                    break;
                }
                meeting.has_partner[number] = true;
                out.push(RowKind::Insert, Some(row), Some(other));
            }
            let alone = match self.kind {
                JoinKind::Semi => met,
                JoinKind::Anti => !met,
                kind => !met && kind.keeps_left(),
            };
            if alone {
                out.push(RowKind::Insert, Some(row), None);
            }
        }
        if meeting.next < left.len() {
            return Ok(true);
        }
        if self.kind.keeps_right() {
            for (row, has_partner) in right.iter().zip(&meeting.has_partner) {
                if !has_partner {
                    out.push(RowKind::Insert, None, Some(row));
                }
            }
        }
        Ok(false)
    }

    fn emit(&self, joined: &mut Joined, out: &mut Vec<Element>) -> Result<()> {
        if let Some((rows, _)) = joined.take(&self.left.rows, &self.right.rows, &self.schema)? {
            out.push(Element::Batch(ChangeBatch::inserts(rows).into()));
        }
        Ok(())
    }
}

impl Timely for WindowJoin {
    type Arriving = Arriving;

    fn windows(&self) -> &Windows {
        &self.left.windows
    }

    fn progress(&self) -> i64 {
        self.arrivals.progress()
    }

    fn begin(&mut self, input: usize, batch: Batch, _: i64) -> Result<Arriving> {
        let is_left = input == 0;
        let side = match is_left {
            true => &mut self.left,
            false => &mut self.right,
        };
        let rows = &batch.change.rows;
        side.keys.encode(rows)?;
        Ok(Arriving {
            is_left,
            placed: self.arrivals.place(&batch, &side.windows, &side.keys)?,
            rows: side.rows.encode(rows)?,
            never: side.never(&batch),
        })
    }

    fn arrive(&mut self, mut arriving: Arriving) -> Result<Option<(Arriving, i64)>> {
        let Arriving {
            is_left,
            placed,
            rows,
            never,
        } = &mut arriving;
        let side = match is_left {
            true => &mut self.left,
            false => &mut self.right,
        };
        let add = |table: &mut MapTable, slot, row: usize| keep(table, slot, never[row], rows.get(row));
        let waits = self.arrivals.take_in(placed, &mut side.table, add)?;
        Ok(waits.map(|to| (arriving, to)))
    }

    fn advance(&mut self, to: i64, out: &mut Vec<Element>) -> Result<bool> {
        let mut joined = Joined::default();
        let mut looked_at = 0;
        while !joined.is_full() && looked_at < BATCH {
            let mut meeting = match self.meeting.take() {
                Some(meeting) => meeting,
                None => {
                    let tables = [&mut self.left.table, &mut self.right.table];
                    let Some(timer) = self.arrivals.due(to, tables)? else {
                        self.emit(&mut joined, out)?;
                        return Ok(false);
                    };
                    looked_at += 1;
                    let (left, left_never) = self.left.take(&timer)?;
                    let (right, right_never) = self.right.take(&timer)?;
                    Meeting {
                        has_partner: vec![false; right.len()],
                        never: left_never || right_never,
                        left,
                        right,
                        next: 0,
                    }
                }
            };
            if self.meet(&mut meeting, &mut joined)? {
                self.meeting = Some(meeting);
            }
        }
        self.arrivals
            .gave([&mut self.left.table, &mut self.right.table])?;
        self.emit(&mut joined, out)?;
        Ok(true)
    }

    fn fired_timers(&self) -> u64 {
        self.arrivals.fired()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.arrivals
            .snapshot([&mut self.left.table, &mut self.right.table])
    }
}

/// A row is kept behind the others of its window and key.
fn keep(table: &mut MapTable, slot: u32, never: bool, row: &[u8]) {
    let last = table.iter(slot).next_back();
    let last = last.and_then(|(number, _)| number.try_into().ok());
    let number = last.map_or(0, |last| u64::from_be_bytes(last) + 1);
    let stored = [&[u8::from(never)], row].concat();
    table.put(slot, &number.to_be_bytes(), &stored);
}
