//! MIN and MAX of what is only added to. Text is compared by its bytes, as Flink compares it.
//! `counted` has those of what rows are taken back from.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{
    ArrowNativeTypeOp, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use millrace_core::Result;

use super::accumulator::{Accumulator, Step, Stepped, stored};
use super::held::{self, Choice};
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
            | TypeKind::Boolean
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
        TypeKind::Char(_) | TypeKind::Varchar(_) | TypeKind::Boolean => {
            let choice = match largest {
                true => Choice::Largest,
                false => Choice::Smallest,
            };
            held::accumulator(arg, choice)?
        }
        _ => return Err(unknown("MIN or MAX", arg)),
    })
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
