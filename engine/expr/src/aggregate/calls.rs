//! All calls of an aggregation together: their filters, what is DISTINCT among them, their columns.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use millrace_core::{Error, Result};

use super::accumulator::{Accumulator, Input};
use super::distinct::Distinct;
use super::maps::{Entries, Maps, view};
use super::{AggregateCall, unknown};
use crate::Field;

/// Rows of a batch for all calls.
#[derive(Clone, Copy)]
pub struct Grouped<'a> {
    pub columns: &'a [ArrayRef],
    /// The slot of each row's group.
    pub slots: &'a [u32],
    /// Rows that are taken back; absent: none.
    pub retract: Option<&'a [bool]>,
    /// Rows that begin their group, whatever its slot held; absent: none.
    pub first: Option<&'a [bool]>,
    /// Rows that count; absent: all.
    pub pass: Option<&'a [bool]>,
}

/// The state of the calls of an aggregation, by slot.
pub struct Calls {
    calls: Vec<Call>,
    distincts: Vec<(usize, Distinct)>,
    uses_maps: bool,
    with_row: Vec<Vec<u8>>,
}

struct Call {
    arg: Option<usize>,
    filter: Option<usize>,
    /// Which of `distincts`, and which of its calls.
    distinct: Option<(usize, usize)>,
    ignores_retractions: bool,
    accumulator: Box<dyn Accumulator>,
}

impl Calls {
    /// `retracts`: rows can be taken back.
    pub fn new(plan: &[AggregateCall], retracts: bool) -> Result<Self> {
        // Arguments of DISTINCT calls, with the number of calls over each.
        let mut args: Vec<(usize, usize)> = Vec::new();
        let mut shares = Vec::with_capacity(plan.len());
        for call in plan {
            let share = match call.arg.filter(|_| call.is_distinct()) {
                None => None,
                Some(arg) => {
                    let group = args.iter().position(|(known, _)| *known == arg);
                    let group = group.unwrap_or_else(|| {
                        args.push((arg, 0));
                        args.len() - 1
                    });
                    args[group].1 += 1;
                    Some((group, args[group].1 - 1))
                }
            };
            shares.push(share);
        }
        let mut distincts = Vec::with_capacity(args.len());
        for (number, (arg, count)) in args.iter().enumerate() {
            let call = plan.iter().find(|call| call.arg == Some(*arg));
            let arg_type = call.and_then(|call| call.arg_type.as_ref());
            let arg_type = arg_type.ok_or_else(|| Error::internal("a DISTINCT has no argument"))?;
            distincts.push((*arg, Distinct::new(arg_type, *count, retracts, view(number))?));
        }
        let mut uses_maps = !distincts.is_empty();
        let mut with_row = Vec::new();
        let mut calls = Vec::with_capacity(plan.len());
        for (number, (call, distinct)) in plan.iter().zip(shares).enumerate() {
            let number = args.len() + number;
            if number > usize::from(u16::MAX) {
                return Err(Error::user(
                    "a query has more aggregate functions than can be kept",
                ));
            }
            uses_maps |= call.keeps_map(retracts);
            if call.map_lives_with_row(retracts) {
                with_row.push(view(number).to_vec());
            }
            calls.push(Call {
                arg: call.arg,
                filter: call.filter,
                distinct,
                ignores_retractions: call.ignores_retractions,
                accumulator: call.accumulator(retracts, number)?,
            });
        }
        Ok(Calls {
            calls,
            distincts,
            uses_maps,
            with_row,
        })
    }

    /// Whether something is kept in maps; without, those that are handed in are not touched.
    pub fn uses_maps(&self) -> bool {
        self.uses_maps
    }

    /// The beginnings of entries in maps that live as long as their group's row.
    pub fn with_row(&self) -> &[Vec<u8>] {
        &self.with_row
    }

    /// What is kept of a group beside its map.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        self.calls.iter().flat_map(|call| call.accumulator.fields())
    }

    /// Bytes of the columns for a slot.
    pub fn slot_bytes(&self) -> usize {
        let bytes = self.calls.iter().map(|call| call.accumulator.slot_bytes());
        bytes.sum()
    }

    /// Bytes that all slots together hold outside of the columns.
    pub fn held_bytes(&self) -> usize {
        let bytes = self.calls.iter().map(|call| call.accumulator.held_bytes());
        bytes.sum()
    }

    /// The slots are nobody's: what they hold outside of the columns goes.
    pub fn release(&mut self, slots: &[u32]) {
        self.each(|accumulator| accumulator.release(slots));
    }

    /// Slots are below `width` from now on.
    pub fn resize(&mut self, width: usize) {
        self.each(|accumulator| accumulator.resize(width));
    }

    /// The groups of these slots are empty.
    pub fn reset(&mut self, slots: &[u32]) {
        self.each(|accumulator| accumulator.reset(slots));
    }

    fn each(&mut self, change: impl FnMut(&mut Box<dyn Accumulator>)) {
        self.calls
            .iter_mut()
            .map(|call| &mut call.accumulator)
            .for_each(change);
    }

    /// From here on rows are of this part: see `Accumulator::begin`.
    pub fn begin(&mut self, part: u64) {
        self.each(|accumulator| accumulator.begin(part));
    }

    /// Sets the state of slots from stored columns, one for each field.
    pub fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.parts(columns, |accumulator, part| accumulator.load(slots, part))
    }

    /// Adds stored states to those of slots.
    pub fn merge(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.parts(columns, |accumulator, part| accumulator.merge(slots, part))
    }

    /// As `merge`, with the maps of the states: `entries` are those of each.
    pub fn absorb(
        &mut self,
        slots: &[u32],
        columns: &[ArrayRef],
        entries: &[Entries],
        maps: &mut dyn Maps,
    ) -> Result<()> {
        let mut distinct = Vec::with_capacity(self.distincts.len());
        for (_, shared) in &mut self.distincts {
            distinct.push(shared.absorb(slots, entries, maps)?);
        }
        let mut rest = columns;
        for call in &mut self.calls {
            let (part, others) = rest
                .split_at_checked(call.accumulator.fields().len())
                .ok_or_else(|| Error::data_loss("stored groups have another form than their query"))?;
            rest = others;
            if let Some((group, index)) = call.distinct {
                let new = &distinct[group];
                let (counts, back) = &new.calls[index];
                let input = Input {
                    slots: &new.slots,
                    arg: Some(&new.values),
                    retract: back.contains(&true).then_some(back.as_slice()),
                    first: None,
                    pass: Some(counts),
                };
                call.accumulator.update(&input, maps)?;
                continue;
            }
            let Some(view) = call.accumulator.view() else {
                call.accumulator.merge(slots, part)?;
                continue;
            };
            for (slot, entries) in slots.iter().zip(entries) {
                for (entry, value) in entries.of_view(view) {
                    call.accumulator.absorb(*slot, entry, value, maps)?;
                }
            }
        }
        Ok(())
    }

    fn parts(
        &mut self,
        columns: &[ArrayRef],
        mut take: impl FnMut(&mut dyn Accumulator, &[ArrayRef]) -> Result<()>,
    ) -> Result<()> {
        let mut rest = columns;
        for call in &mut self.calls {
            let (part, others) = rest
                .split_at_checked(call.accumulator.fields().len())
                .ok_or_else(|| Error::data_loss("stored groups have another form than their query"))?;
            take(call.accumulator.as_mut(), part)?;
            rest = others;
        }
        Ok(())
    }

    /// The state of slots as columns, one for each field.
    pub fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for call in &self.calls {
            columns.extend(call.accumulator.store(slots)?);
        }
        Ok(columns)
    }

    /// Takes the rows in, one after the other.
    pub fn update(&mut self, rows: &Grouped<'_>, maps: &mut dyn Maps) -> Result<()> {
        self.take(rows, maps, |accumulator, input, maps| {
            accumulator.update(input, maps)
        })
    }

    /// As `update`, and gives what the calls' results were before and after each row.
    pub fn trace(
        &mut self,
        rows: &Grouped<'_>,
        maps: &mut dyn Maps,
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        self.take(rows, maps, |accumulator, input, maps| {
            let trace = accumulator.trace(input, maps)?;
            before.push(trace.before);
            after.push(trace.after);
            Ok(())
        })?;
        Ok((before, after))
    }

    fn take(
        &mut self,
        rows: &Grouped<'_>,
        maps: &mut dyn Maps,
        mut call: impl FnMut(&mut dyn Accumulator, &Input<'_>, &mut dyn Maps) -> Result<()>,
    ) -> Result<()> {
        let column = |index: usize| {
            rows.columns
                .get(index)
                .ok_or_else(|| Error::internal("an aggregation reads a column that is not there"))
        };
        let mut filters = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            filters.push(match call.filter {
                None => None,
                Some(filter) => Some(passing(column(filter)?)?),
            });
        }
        let base = Input {
            slots: rows.slots,
            arg: None,
            retract: rows.retract,
            first: rows.first,
            pass: rows.pass,
        };
        let mut distinct = Vec::with_capacity(self.distincts.len());
        for (group, (arg, shared)) in self.distincts.iter_mut().enumerate() {
            let shares = |call: &Call| call.distinct.is_some_and(|(of, _)| of == group);
            let filters: Vec<Option<&[bool]>> = self
                .calls
                .iter()
                .zip(&filters)
                .filter(|(call, _)| shares(call))
                .map(|(_, filter)| filter.as_deref())
                .collect();
            distinct.push(shared.pass(column(*arg)?, &base, &filters, maps)?);
        }
        for (each, filter) in self.calls.iter_mut().zip(filters) {
            let pass = match (each.distinct, filter) {
                (Some((group, index)), _) => Some(std::mem::take(&mut distinct[group][index])),
                (None, Some(mut filter)) => {
                    if let Some(pass) = rows.pass {
                        filter.iter_mut().zip(pass).for_each(|(f, p)| *f &= p);
                    }
                    Some(filter)
                }
                (None, None) => None,
            };
            let mut pass = pass;
            let ignored = rows.retract.filter(|_| each.ignores_retractions);
            if let Some(retract) = ignored {
                let counts = pass.as_deref().or(rows.pass);
                let forward = retract.iter().enumerate();
                pass = Some(
                    forward
                        .map(|(row, back)| !back && counts.is_none_or(|c| c[row]))
                        .collect(),
                );
            }
            let input = Input {
                arg: each.arg.map(column).transpose()?,
                pass: pass.as_deref().or(rows.pass),
                retract: rows.retract.filter(|_| ignored.is_none()),
                ..base
            };
            call(each.accumulator.as_mut(), &input, maps)?;
        }
        Ok(())
    }

    /// The results of slots, a column each call.
    pub fn values(&self, slots: &[u32], maps: &mut dyn Maps) -> Result<Vec<ArrayRef>> {
        let values = self.calls.iter().map(|call| call.accumulator.values(slots, maps));
        values.collect()
    }
}

/// Rows whose value is true; null is not.
fn passing(column: &ArrayRef) -> Result<Vec<bool>> {
    let column: &BooleanArray = column
        .as_boolean_opt()
        .ok_or_else(|| unknown("FILTER", &crate::DataType::boolean()))?;
    Ok((0..column.len())
        .map(|row| column.is_valid(row) && column.value(row))
        .collect())
}
