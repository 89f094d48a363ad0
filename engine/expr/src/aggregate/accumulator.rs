//! The interface of accumulators, and the loops over a batch's rows.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use millrace_core::memory::widen;
use millrace_core::{Error, Result};

use super::maps::{Maps, View};
use crate::Field;

/// Rows of a batch for one call.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The slot of each row's group.
    pub slots: &'a [u32],
    /// The argument's values; none for COUNT(*).
    pub arg: Option<&'a ArrayRef>,
    /// Rows that are taken back; absent: none.
    pub retract: Option<&'a [bool]>,
    /// Rows that begin their group, whatever its slot held; absent: none.
    pub first: Option<&'a [bool]>,
    /// Rows that the call's FILTER lets through; absent: all.
    pub pass: Option<&'a [bool]>,
}

/// The results before and after each row, with its group.
pub struct Trace {
    pub before: ArrayRef,
    pub after: ArrayRef,
}

/// The state of one call, for all groups that are in memory. What is large is kept in `maps`, which
/// have the same slots; a group that is reset has an empty map.
pub trait Accumulator: Send {
    /// What is kept for a group beside its map: names and types, stable over versions.
    fn fields(&self) -> Vec<Field>;

    /// Whether states can be added to one another: those in a map cannot.
    fn merges(&self) -> bool {
        true
    }

    /// Bytes of the columns for a slot.
    fn slot_bytes(&self) -> usize;

    /// Bytes that all slots together hold outside of the columns.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Slots are below `width` from now on.
    fn resize(&mut self, width: usize);

    /// The slots are nobody's: what they hold outside of the columns goes. They are reset or loaded before they
    /// are used again.
    fn release(&mut self, _slots: &[u32]) {}

    /// The groups of these slots are empty.
    fn reset(&mut self, slots: &[u32]);

    /// Sets the state of slots from stored columns, one for each field.
    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// Adds stored states to those of slots, in order; a slot may come more than once. Of what keeps a map
    /// it is `absorb` that does.
    fn merge(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// Its part of the maps, where it keeps one: the whole state can be told from that.
    fn view(&self) -> Option<View> {
        None
    }

    /// Adds one entry of another slot's map, without the bytes of the view, to a slot. Entries come in
    /// their order.
    fn absorb(&mut self, _slot: u32, _entry: &[u8], _value: &[u8], _maps: &mut dyn Maps) -> Result<()> {
        Err(Error::internal("an aggregate function has no map to be merged"))
    }

    /// From here on rows are of this part: Flink puts together what the rows of a part become, and then adds
    /// that to the state, which shows in the order of values where rows are taken back.
    fn begin(&mut self, _part: u64) {}

    /// The state of slots as columns, one for each field.
    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Takes the rows in, one after the other.
    fn update(&mut self, input: &Input<'_>, maps: &mut dyn Maps) -> Result<()>;

    /// As `update`, and gives what the call's result was at each row.
    fn trace(&mut self, input: &Input<'_>, maps: &mut dyn Maps) -> Result<Trace>;

    /// The results of slots.
    fn values(&self, slots: &[u32], maps: &mut dyn Maps) -> Result<ArrayRef>;
}

/// A function whose state is a value of its own for each slot.
pub(super) trait Step: Send {
    type Arg: ArrowPrimitiveType;
    type State: Copy + Default + Send;

    fn accumulate(&self, state: &mut Self::State, value: <Self::Arg as ArrowPrimitiveType>::Native);
    fn retract(&self, state: &mut Self::State, value: <Self::Arg as ArrowPrimitiveType>::Native);
    fn merge(&self, state: &mut Self::State, other: Self::State);
    fn fields(&self) -> Vec<Field>;
    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>>;
    fn store(&self, states: &[Self::State]) -> Result<Vec<ArrayRef>>;
    fn values(&self, states: &[Self::State]) -> Result<ArrayRef>;
}

/// An accumulator out of a `Step`.
pub(super) struct Stepped<S: Step> {
    step: S,
    states: Vec<S::State>,
}

impl<S: Step> Stepped<S> {
    pub fn new(step: S) -> Self {
        Stepped {
            step,
            states: Vec::new(),
        }
    }

    /// `at` sees the state before and after each row.
    fn rows(&mut self, input: &Input<'_>, mut at: impl FnMut(S::State, S::State)) -> Result<()> {
        let arg = argument::<S::Arg>(input.arg)?;
        let values = arg.values();
        let nulls = arg.nulls().filter(|n| n.null_count() > 0);
        // The loop without any exception is the one that most rows go through.
        if nulls.is_none() && input.retract.is_none() && input.first.is_none() && input.pass.is_none() {
            for (slot, value) in input.slots.iter().zip(values) {
                let state = &mut self.states[*slot as usize];
                let before = *state;
                self.step.accumulate(state, *value);
                at(before, *state);
            }
            return Ok(());
        }
        for (row, slot) in input.slots.iter().enumerate() {
            let state = &mut self.states[*slot as usize];
            if input.first.is_some_and(|first| first[row]) {
                *state = S::State::default();
            }
            let before = *state;
            if takes(input.pass, nulls, row) {
                match input.retract.is_some_and(|retract| retract[row]) {
                    false => self.step.accumulate(state, values[row]),
                    true => self.step.retract(state, values[row]),
                }
            }
            at(before, *state);
        }
        Ok(())
    }

    fn states(&self, slots: &[u32]) -> Vec<S::State> {
        slots.iter().map(|slot| self.states[*slot as usize]).collect()
    }
}

/// Whether a row's value counts.
pub(super) fn takes(pass: Option<&[bool]>, nulls: Option<&NullBuffer>, row: usize) -> bool {
    pass.is_none_or(|pass| pass[row]) && nulls.is_none_or(|nulls| nulls.is_valid(row))
}

/// The argument as an array of its type.
pub(super) fn argument<T: ArrowPrimitiveType>(arg: Option<&ArrayRef>) -> Result<&PrimitiveArray<T>> {
    arg.and_then(|arg| arg.as_primitive_opt::<T>())
        .ok_or_else(|| Error::internal("an aggregate function meets a column of another type"))
}

/// A stored column as an array of its type.
pub(super) fn stored<T: ArrowPrimitiveType>(
    columns: &[ArrayRef],
    index: usize,
) -> Result<&PrimitiveArray<T>> {
    columns
        .get(index)
        .and_then(|column| column.as_primitive_opt::<T>())
        .ok_or_else(|| Error::data_loss("the stored state of an aggregate function has another form"))
}

impl<S: Step> Accumulator for Stepped<S> {
    fn fields(&self) -> Vec<Field> {
        self.step.fields()
    }

    fn slot_bytes(&self) -> usize {
        size_of::<S::State>()
    }

    fn resize(&mut self, width: usize) {
        widen(&mut self.states, width, S::State::default());
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            self.states[*slot as usize] = S::State::default();
        }
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (slot, state) in slots.iter().zip(self.step.load(columns)?) {
            self.states[*slot as usize] = state;
        }
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (slot, state) in slots.iter().zip(self.step.load(columns)?) {
            self.step.merge(&mut self.states[*slot as usize], state);
        }
        Ok(())
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.step.store(&self.states(slots))
    }

    fn update(&mut self, input: &Input<'_>, _: &mut dyn Maps) -> Result<()> {
        self.rows(input, |_, _| {})
    }

    fn trace(&mut self, input: &Input<'_>, _: &mut dyn Maps) -> Result<Trace> {
        let mut before = Vec::with_capacity(input.slots.len());
        let mut after = Vec::with_capacity(input.slots.len());
        self.rows(input, |b, a| {
            before.push(b);
            after.push(a);
        })?;
        Ok(Trace {
            before: self.step.values(&before)?,
            after: self.step.values(&after)?,
        })
    }

    fn values(&self, slots: &[u32], _: &mut dyn Maps) -> Result<ArrayRef> {
        self.step.values(&self.states(slots))
    }
}
