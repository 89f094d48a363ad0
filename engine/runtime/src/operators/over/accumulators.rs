//! The accumulators of all keys, and their results along rows.

use arrow::array::ArrayRef;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Error, Result};
use millrace_dataflow::{OverCall, OverFunction};
use millrace_expr::aggregate::{Accumulator, Input};
use millrace_state::keyed::{KeyedBackend, Table};

use super::lag::Lag;

pub(super) struct Accumulators {
    calls: Vec<Call>,
    codec: RowCodec,
    table: Table,
}

struct Call {
    arg: Option<usize>,
    accumulator: Box<dyn Accumulator>,
}

/// Rows in the order in which they are taken in or out.
pub(super) struct Along<'a> {
    pub slots: &'a [u32],
    pub columns: &'a [ArrayRef],
    /// Rows that leave; absent: none.
    pub retract: Option<&'a [bool]>,
    /// Rows before which their slot begins anew; absent: none.
    pub first: Option<&'a [bool]>,
}

impl Accumulators {
    pub fn new(calls: &[OverCall], backend: &KeyedBackend) -> Result<Self> {
        let calls = calls
            .iter()
            .map(|call| {
                let accumulator = match (call.function, call.aggregate()) {
                    (_, Some(aggregate)) => aggregate.accumulator()?,
                    (OverFunction::Lag { offset }, _) => Lag::boxed(offset, call)?,
                    _ => return Err(Error::internal("a function of OVER has no accumulator")),
                };
                Ok(Call {
                    arg: call.arg,
                    accumulator,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let fields = calls.iter().flat_map(|c| c.accumulator.fields());
        let codec = RowCodec::new(fields.map(|f| f.data_type.to_arrow()))?;
        let bytes = calls.iter().map(|c| c.accumulator.slot_bytes()).sum();
        Ok(Accumulators {
            calls,
            codec,
            table: Table::open(&backend.store, "accumulators", bytes, backend.cache_bytes)?,
        })
    }

    /// Slots as they were given before are no longer valid.
    pub fn make_room(&mut self, rows: usize) -> Result<()> {
        let (calls, codec) = (&self.calls, &self.codec);
        self.table
            .make_room(rows, |slots, out| store(calls, codec, slots, out))
    }

    pub fn flush(&mut self) -> Result<()> {
        let (calls, codec) = (&self.calls, &self.codec);
        self.table.flush(|slots, out| store(calls, codec, slots, out))
    }

    /// The slots of keys, whose accumulators are brought into memory.
    pub fn resolve(&mut self, keys: &Rows, hashes: &[u64], groups: &[u16]) -> Result<Vec<u32>> {
        let mut slots = Vec::with_capacity(keys.len());
        let resolved = self.table.resolve(keys, hashes, groups, &mut slots)?;
        let width = self.table.width();
        for call in &mut self.calls {
            call.accumulator.resize(width);
            call.accumulator.reset(&resolved.fresh);
        }
        if !resolved.loaded.is_empty() {
            let mut columns = self.codec.decode(resolved.values.iter())?.into_iter();
            for call in &mut self.calls {
                let fields = call.accumulator.fields().len();
                let stored: Vec<ArrayRef> = columns.by_ref().take(fields).collect();
                call.accumulator.load(&resolved.loaded, &stored)?;
            }
        }
        self.table.changed(slots.iter().copied());
        Ok(slots)
    }

    pub fn remove(&mut self, slot: u32) {
        self.table.remove(slot);
    }

    /// Makes one slot that belongs to no key and is never stored.
    pub fn resize_for_scratch(&mut self) {
        self.calls.iter_mut().for_each(|call| call.accumulator.resize(1));
    }

    /// Takes the rows in or out; each call's result after each of them.
    pub fn results(&mut self, along: &Along<'_>) -> Result<Vec<ArrayRef>> {
        let mut results = Vec::with_capacity(self.calls.len());
        for call in &mut self.calls {
            let trace = call.accumulator.trace(&Input {
                slots: along.slots,
                arg: call.arg.map(|column| &along.columns[column]),
                retract: along.retract,
                first: along.first,
                pass: None,
            })?;
            results.push(trace.after);
        }
        Ok(results)
    }
}

fn store(calls: &[Call], codec: &RowCodec, slots: &[u32], out: &mut Rows) -> Result<()> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(codec.types().len());
    for call in calls {
        columns.extend(call.accumulator.store(slots)?);
    }
    codec.encode(&columns, out)
}
