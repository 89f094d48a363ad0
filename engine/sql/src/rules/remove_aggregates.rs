//! Of groups that have one row each, SUM, MIN and MAX are the value of the row: an aggregation whose keys hold
//! a key of its input is a Calc. Flink's `FlinkAggregateRemoveRule`, without which a changelog would delete
//! and insert where Flink updates.

use millrace_core::Result;
use millrace_expr::Expr;
use millrace_expr::aggregate::{AggregateCall, AggregateFunction};

use crate::plan::{Op, Rel};
use crate::upsert_keys;

pub(super) fn apply(mut rel: Rel) -> Result<Rel> {
    rel.inputs = rel.inputs.into_iter().map(apply).collect::<Result<_>>()?;
    let Op::Aggregate { keys, calls, .. } = &rel.op else {
        return Ok(rel);
    };
    let input = &rel.inputs[0];
    let one_row_each = !keys.is_empty()
        && upsert_keys::of(input)
            .iter()
            .any(|key| key.iter().all(|column| keys.contains(column)));
    if !one_row_each || !calls.iter().all(is_value_of_one) {
        return Ok(rel);
    }
    let column = |index: usize| Expr::column(index, input.output.fields[index].data_type.clone());
    let values = calls.iter().filter_map(|call| {
        let value = column(call.arg?);
        Some(millrace_expr::cast::cast(value, call.data_type.clone()))
    });
    let projection: Result<Vec<Expr>> = keys.iter().map(|key| Ok(column(*key))).chain(values).collect();
    let (projection, names) = (projection?, rel.output.names());
    Ok(Rel::calc(rel.inputs.remove(0), None, projection, names))
}

fn is_value_of_one(call: &AggregateCall) -> bool {
    use AggregateFunction::{Max, Min, Sum};
    matches!(call.function, Sum | Min | Max) && call.arg.is_some() && call.filter.is_none()
}
