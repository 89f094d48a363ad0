//! AVG: the sum through the count, cut off for integers, rounded half up for decimals.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{
    ArrowNativeTypeOp, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use millrace_core::Result;

use super::accumulator::{Accumulator, Step, Stepped};
use super::sum::{self, State, changed, fits};
use super::unknown;
use crate::text::decimal::power_of_ten;
use crate::{DataType, Field, TypeKind};

/// The average of a sum of so many values, above 0; none where the type does not hold it.
type Divide<A, S> =
    fn(&Average<A, S>, <S as ArrowPrimitiveType>::Native, i64) -> Option<<A as ArrowPrimitiveType>::Native>;

pub fn accumulator(arg: &DataType, result: &DataType) -> Result<Box<dyn Accumulator>> {
    fn of<A, S>(
        sum_type: DataType,
        result: &DataType,
        widen: fn(A::Native) -> S::Native,
        divide: Divide<A, S>,
    ) -> Box<dyn Accumulator>
    where
        A: ArrowPrimitiveType,
        S: ArrowPrimitiveType,
        S::Native: ArrowNativeTypeOp,
    {
        Box::new(Stepped::new(Average::<A, S> {
            sum_type,
            result: result.clone(),
            scale_up: 1,
            widen,
            divide,
        }))
    }
    let long = DataType::not_null(TypeKind::BigInt);
    let double = DataType::not_null(TypeKind::Double);
    Ok(match &arg.kind {
        TypeKind::TinyInt => {
            of::<Int8Type, Int64Type>(long, result, i64::from, |_, s, n| Some((s / n) as i8))
        }
        TypeKind::SmallInt => {
            of::<Int16Type, Int64Type>(long, result, i64::from, |_, s, n| Some((s / n) as i16))
        }
        TypeKind::Int => of::<Int32Type, Int64Type>(long, result, i64::from, |_, s, n| Some((s / n) as i32)),
        TypeKind::BigInt => {
            of::<Int64Type, Int64Type>(long, result, |v| v, |_, s, n| Some(s.wrapping_div(n)))
        }
        TypeKind::Float => {
            of::<Float32Type, Float64Type>(double, result, f64::from, |_, s, n| Some((s / n as f64) as f32))
        }
        TypeKind::Double => {
            of::<Float64Type, Float64Type>(double, result, |v| v, |_, s, n| Some(s / n as f64))
        }
        TypeKind::Decimal { scale, .. } => {
            let more = match result.kind {
                TypeKind::Decimal { scale: to, .. } => to.saturating_sub(*scale),
                _ => return Err(unknown("AVG", result)),
            };
            Box::new(Stepped::new(Average::<Decimal128Type, Decimal128Type> {
                sum_type: DataType::decimal(38, *scale).with_nullable(false),
                result: result.clone(),
                scale_up: power_of_ten(more),
                widen: |v| v,
                divide: |average, sum, count| {
                    let scaled = sum.checked_mul(average.scale_up)?;
                    let count = i128::from(count);
                    let (quotient, rest) = (scaled / count, scaled % count);
                    let up = 2 * rest.unsigned_abs() >= count.unsigned_abs();
                    let away = i128::from(up) * scaled.signum() * count.signum();
                    Some(quotient + away).filter(|value| fits(*value))
                },
            }))
        }
        _ => return Err(unknown("AVG", arg)),
    })
}

/// `A` is the argument's type, and the result's but for a decimal's scale; `S` that of the sum.
struct Average<A: ArrowPrimitiveType, S: ArrowPrimitiveType> {
    sum_type: DataType,
    result: DataType,
    /// From the sum's scale to the result's.
    scale_up: i128,
    widen: fn(A::Native) -> S::Native,
    divide: Divide<A, S>,
}

impl<A, S> Step for Average<A, S>
where
    A: ArrowPrimitiveType,
    S: ArrowPrimitiveType,
    S::Native: ArrowNativeTypeOp,
{
    type Arg = A;
    type State = State<S::Native>;

    fn accumulate(&self, state: &mut Self::State, value: A::Native) {
        changed(state, state.sum.add_wrapping((self.widen)(value)), 1);
    }

    fn retract(&self, state: &mut Self::State, value: A::Native) {
        changed(state, state.sum.sub_wrapping((self.widen)(value)), -1);
    }

    fn merge(&self, state: &mut Self::State, other: Self::State) {
        changed(state, state.sum.add_wrapping(other.sum), other.count);
    }

    fn fields(&self) -> Vec<Field> {
        sum::fields(&self.sum_type)
    }

    fn load(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        sum::load::<S>(columns)
    }

    fn store(&self, states: &[Self::State]) -> Result<Vec<ArrayRef>> {
        Ok(sum::store::<S>(states, &self.sum_type))
    }

    fn values(&self, states: &[Self::State]) -> Result<ArrayRef> {
        let values: PrimitiveArray<A> = states
            .iter()
            .map(|s| match s.count {
                0 => None,
                count => (self.divide)(self, s.sum, count),
            })
            .collect();
        Ok(Arc::new(values.with_data_type(self.result.to_arrow())))
    }
}
