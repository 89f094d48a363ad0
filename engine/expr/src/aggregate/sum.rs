//! SUM, and SUM0, which is 0 of nothing. Integers wrap as in Java; a decimal that leaves 38 digits
//! begins anew with the next value, as Flink's generated code does.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{
    ArrowNativeTypeOp, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use millrace_core::Result;

use super::accumulator::{Accumulator, Step, Stepped, stored};
use super::unknown;
use crate::text::decimal::power_of_ten;
use crate::{DataType, Field, TypeKind};

pub fn accumulator(arg: &DataType, zero: bool) -> Result<Box<dyn Accumulator>> {
    fn of<T: Summed>(data_type: DataType, zero: bool) -> Box<dyn Accumulator> {
        Box::new(Stepped::new(Sum::<T> {
            data_type,
            zero,
            native: PhantomData,
        }))
    }
    let t = arg.clone();
    Ok(match &arg.kind {
        TypeKind::TinyInt => of::<Int8Type>(t, zero),
        TypeKind::SmallInt => of::<Int16Type>(t, zero),
        TypeKind::Int => of::<Int32Type>(t, zero),
        TypeKind::BigInt => of::<Int64Type>(t, zero),
        TypeKind::Float => of::<Float32Type>(t, zero),
        TypeKind::Double => of::<Float64Type>(t, zero),
        TypeKind::Decimal { scale, .. } => of::<Decimal128Type>(DataType::decimal(38, *scale), zero),
        _ => return Err(unknown("SUM", arg)),
    })
}

/// Which sums a type does not hold. Integers wrap and floats do not end, so that only decimals can.
trait Summed: ArrowPrimitiveType<Native: ArrowNativeTypeOp> {
    fn holds(_sum: Self::Native) -> bool {
        true
    }
}

impl Summed for Int8Type {}
impl Summed for Int16Type {}
impl Summed for Int32Type {}
impl Summed for Int64Type {}
impl Summed for Float32Type {}
impl Summed for Float64Type {}
impl Summed for Decimal128Type {
    fn holds(sum: i128) -> bool {
        fits(sum)
    }
}

struct Sum<T> {
    data_type: DataType,
    zero: bool,
    native: PhantomData<fn(T)>,
}

/// A sum and how many values are in it: without any it is NULL.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State<N> {
    pub sum: N,
    pub count: i64,
}

/// One value more or less.
pub(super) fn changed<N: ArrowNativeTypeOp>(state: &mut State<N>, sum: N, by: i64) {
    state.sum = sum;
    state.count += by;
}

/// What is stored of a sum of this type.
pub(super) fn fields(sum_type: &DataType) -> Vec<Field> {
    vec![
        Field::new("sum", sum_type.clone().with_nullable(false)),
        Field::new("count", DataType::not_null(TypeKind::BigInt)),
    ]
}

pub(super) fn load<T: ArrowPrimitiveType>(columns: &[ArrayRef]) -> Result<Vec<State<T::Native>>> {
    let sums = stored::<T>(columns, 0)?.values();
    let counts = stored::<Int64Type>(columns, 1)?.values();
    let both = sums.iter().zip(counts);
    Ok(both
        .map(|(sum, count)| State {
            sum: *sum,
            count: *count,
        })
        .collect())
}

pub(super) fn store<T: ArrowPrimitiveType>(
    states: &[State<T::Native>],
    sum_type: &DataType,
) -> Vec<ArrayRef> {
    let sums = PrimitiveArray::<T>::from_iter_values(states.iter().map(|s| s.sum));
    let counts = PrimitiveArray::<Int64Type>::from_iter_values(states.iter().map(|s| s.count));
    vec![
        Arc::new(sums.with_data_type(sum_type.to_arrow())),
        Arc::new(counts),
    ]
}

/// Whether an unscaled decimal has at most 38 digits.
pub(super) fn fits(value: i128) -> bool {
    value.unsigned_abs() < power_of_ten(38).unsigned_abs()
}

impl<T: Summed> Step for Sum<T> {
    type Arg = T;
    type State = State<T::Native>;

    fn accumulate(&self, state: &mut Self::State, value: T::Native) {
        let sum = state.sum.add_wrapping(value);
        match T::holds(sum) {
            true => changed(state, sum, 1),
            false => *state = State::default(),
        }
    }

    fn retract(&self, state: &mut Self::State, value: T::Native) {
        let sum = state.sum.sub_wrapping(value);
        match T::holds(sum) {
            true => changed(state, sum, -1),
            false => *state = State::default(),
        }
    }

    fn merge(&self, state: &mut Self::State, other: Self::State) {
        let sum = state.sum.add_wrapping(other.sum);
        match T::holds(sum) {
            true => changed(state, sum, other.count),
            false => *state = State::default(),
        }
    }

    fn fields(&self) -> Vec<Field> {
        fields(&self.data_type)
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        load::<T>(columns)
    }

    fn store(&self, states: &[Self::State]) -> Result<Vec<ArrayRef>> {
        Ok(store::<T>(states, &self.data_type))
    }

    fn values(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let values: PrimitiveArray<T> = match self.zero || states.iter().all(|s| s.count != 0) {
            true => PrimitiveArray::from_iter_values(states.iter().map(|s| s.sum)),
            false => states.iter().map(|s| (s.count != 0).then_some(s.sum)).collect(),
        };
        Ok(Arc::new(values.with_data_type(self.data_type.to_arrow())))
    }
}
