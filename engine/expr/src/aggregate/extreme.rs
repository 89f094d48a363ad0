//! MIN and MAX of what is only added to. Text is compared by its bytes, as Flink compares it.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray};
use arrow::datatypes::{
    ArrowNativeTypeOp, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use millrace_core::{Error, Result};

use super::accumulator::{Accumulator, Input, Step, Stepped, Trace, stored, takes};
use super::unknown;
use crate::types::timestamp_unit;
use crate::{DataType, Field, TypeKind};

/// Whether values of a type have an order that MIN and MAX know.
pub fn takes_kind(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::TinyInt
            | TypeKind::SmallInt
            | TypeKind::Int
            | TypeKind::BigInt
            | TypeKind::Float
            | TypeKind::Double
            | TypeKind::Decimal { .. }
            | TypeKind::Date
            | TypeKind::Time(_)
            | TypeKind::Timestamp(_)
            | TypeKind::TimestampLtz(_)
            | TypeKind::Char(_)
            | TypeKind::Varchar(_)
    )
}

pub fn accumulator(arg: &DataType, largest: bool) -> Result<Box<dyn Accumulator>> {
    fn of<T: ArrowPrimitiveType>(arg: &DataType, largest: bool) -> Box<dyn Accumulator>
    where
        T::Native: ArrowNativeTypeOp,
    {
        Box::new(Stepped::new(Extreme::<T> {
            data_type: arg.clone().with_nullable(true),
            largest,
            native: PhantomData,
        }))
    }
    Ok(match &arg.kind {
        TypeKind::TinyInt => of::<Int8Type>(arg, largest),
        TypeKind::SmallInt => of::<Int16Type>(arg, largest),
        TypeKind::Int => of::<Int32Type>(arg, largest),
        TypeKind::BigInt => of::<Int64Type>(arg, largest),
        TypeKind::Float => of::<Float32Type>(arg, largest),
        TypeKind::Double => of::<Float64Type>(arg, largest),
        TypeKind::Decimal { .. } => of::<Decimal128Type>(arg, largest),
        TypeKind::Date => of::<Date32Type>(arg, largest),
        TypeKind::Time(_) => of::<Time32MillisecondType>(arg, largest),
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => match timestamp_unit(*p) {
            TimeUnit::Microsecond => of::<TimestampMicrosecondType>(arg, largest),
            TimeUnit::Nanosecond => of::<TimestampNanosecondType>(arg, largest),
            _ => of::<TimestampMillisecondType>(arg, largest),
        },
        TypeKind::Char(_) | TypeKind::Varchar(_) => Box::new(ExtremeText {
            data_type: arg.clone().with_nullable(true),
            largest,
            values: Vec::new(),
        }),
        _ => return Err(unknown("MIN or MAX", arg)),
    })
}

/// No value was taken back that was put in: the planner has seen to it.
fn cannot_retract() -> Error {
    Error::internal("MIN or MAX was planned over rows that are taken back")
}

struct Extreme<T> {
    data_type: DataType,
    largest: bool,
    native: PhantomData<fn(T)>,
}

impl<T: ArrowPrimitiveType> Step for Extreme<T>
where
    T::Native: ArrowNativeTypeOp,
{
    type Arg = T;
    type State = Option<T::Native>;

    fn accumulate(&self, state: &mut Self::State, value: T::Native) {
        let better = state.is_none_or(|best| match self.largest {
            true => value.is_gt(best),
            false => value.is_lt(best),
        });
        if better {
            *state = Some(value);
        }
    }

    fn retract(&self, _: &mut Self::State, _: T::Native) {}

    fn merge(&self, state: &mut Self::State, other: Self::State) {
        if let Some(value) = other {
            self.accumulate(state, value);
        }
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("value", self.data_type.clone())]
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        Ok(stored::<T>(columns, 0)?.iter().collect())
    }

    fn store(&self, states: &[Self::State]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.values(states)?])
    }

    fn values(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let values: PrimitiveArray<T> = states.iter().copied().collect();
        Ok(Arc::new(values.with_data_type(self.data_type.to_arrow())))
    }
}

struct ExtremeText {
    data_type: DataType,
    largest: bool,
    values: Vec<Option<Arc<str>>>,
}

impl ExtremeText {
    fn rows(
        &mut self,
        input: &Input<'_>,
        mut at: impl FnMut(&Option<Arc<str>>, &Option<Arc<str>>),
    ) -> Result<()> {
        let arg = input.arg.and_then(|arg| arg.as_string_opt::<i32>());
        let arg = arg.ok_or_else(|| Error::internal("MIN or MAX meets a column of another type"))?;
        for (row, slot) in input.slots.iter().enumerate() {
            let state = &mut self.values[*slot as usize];
            if input.first.is_some_and(|first| first[row]) {
                *state = None;
            }
            let before = state.clone();
            if takes(input.pass, arg.nulls(), row) {
                if input.retract.is_some_and(|retract| retract[row]) {
                    return Err(cannot_retract());
                }
                let value = arg.value(row);
                let better = state.as_deref().is_none_or(|best| match self.largest {
                    true => value > best,
                    false => value < best,
                });
                if better {
                    *state = Some(value.into());
                }
            }
            at(&before, state);
        }
        Ok(())
    }
}

impl Accumulator for ExtremeText {
    fn fields(&self) -> Vec<Field> {
        vec![Field::new("value", self.data_type.clone())]
    }

    fn slot_bytes(&self) -> usize {
        // The text itself is a guess.
        size_of::<Option<Arc<str>>>() + 32
    }

    fn resize(&mut self, width: usize) {
        self.values.resize(width, None);
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            self.values[*slot as usize] = None;
        }
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let stored = columns
            .first()
            .and_then(|c| c.as_string_opt::<i32>())
            .ok_or_else(|| Error::data_loss("the stored state of an aggregate function has another form"))?;
        for (slot, value) in slots.iter().zip(stored) {
            self.values[*slot as usize] = value.map(Arc::from);
        }
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let texts = columns.first().and_then(|c| c.as_string_opt::<i32>());
        let texts = texts
            .ok_or_else(|| Error::data_loss("the stored state of an aggregate function has another form"))?;
        for (slot, value) in slots.iter().zip(texts) {
            let Some(value) = value else { continue };
            let state = &mut self.values[*slot as usize];
            let better = state.as_deref().is_none_or(|best| match self.largest {
                true => value > best,
                false => value < best,
            });
            if better {
                *state = Some(value.into());
            }
        }
        Ok(())
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.values(slots)?])
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.rows(input, |_, _| {})
    }

    fn trace(&mut self, input: &Input<'_>) -> Result<Trace> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        self.rows(input, |b, a| {
            before.push(b.clone());
            after.push(a.clone());
        })?;
        Ok(Trace {
            before: Arc::new(StringArray::from_iter(before)),
            after: Arc::new(StringArray::from_iter(after)),
        })
    }

    fn values(&self, slots: &[u32]) -> Result<ArrayRef> {
        let values = slots.iter().map(|slot| self.values[*slot as usize].as_deref());
        Ok(Arc::new(StringArray::from_iter(values)))
    }
}
