//! Equality of values of any type, nested ones included.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{self as a, DataType};

/// Whether two values of one type are equal; two nulls are. Maps are equal by their entries,
/// whatever the order.
pub(crate) fn equal(left: &dyn Array, i: usize, right: &dyn Array, j: usize) -> bool {
    if left.data_type() == &DataType::Null {
        return right.data_type() == &DataType::Null || right.is_null(j);
    }
    if right.data_type() == &DataType::Null {
        return left.is_null(i);
    }
    match (left.is_null(i), right.is_null(j)) {
        (true, true) => return true,
        (false, false) => {}
        _ => return false,
    }
    match left.data_type() {
        DataType::Float32 => {
            left.as_primitive::<a::Float32Type>().value(i) == right.as_primitive::<a::Float32Type>().value(j)
        }
        DataType::Float64 => {
            left.as_primitive::<a::Float64Type>().value(i) == right.as_primitive::<a::Float64Type>().value(j)
        }
        DataType::Utf8 => left.as_string::<i32>().value(i) == right.as_string::<i32>().value(j),
        DataType::Binary => left.as_binary::<i32>().value(i) == right.as_binary::<i32>().value(j),
        DataType::Boolean => left.as_boolean().value(i) == right.as_boolean().value(j),
        DataType::Int32 => {
            left.as_primitive::<a::Int32Type>().value(i) == right.as_primitive::<a::Int32Type>().value(j)
        }
        DataType::Int64 => {
            left.as_primitive::<a::Int64Type>().value(i) == right.as_primitive::<a::Int64Type>().value(j)
        }
        DataType::List(_) => {
            let (left, right) = (left.as_list::<i32>().value(i), right.as_list::<i32>().value(j));
            left.len() == right.len() && (0..left.len()).all(|k| equal(&left, k, &right, k))
        }
        DataType::Struct(_) => {
            let (left, right) = (left.as_struct(), right.as_struct());
            left.columns()
                .iter()
                .zip(right.columns())
                .all(|(left, right)| equal(left, i, right, j))
        }
        DataType::Map(..) => {
            let (left, right) = (left.as_map().value(i), right.as_map().value(j));
            let (lk, lv, rk, rv) = (left.column(0), left.column(1), right.column(0), right.column(1));
            left.len() == right.len()
                && (0..left.len())
                    .all(|l| (0..right.len()).any(|r| equal(lk, l, rk, r) && equal(lv, l, rv, r)))
        }
        _ => left.slice(i, 1).to_data() == right.slice(j, 1).to_data(),
    }
}
