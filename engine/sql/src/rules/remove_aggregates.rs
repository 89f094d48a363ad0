//! Of groups that have one row each, SUM, MIN and MAX are the value of the row: an aggregation over rows that are
//! unique in its keys is a Calc. Flink's `FlinkAggregateRemoveRule`, without which a changelog would delete and
//! insert where Flink updates; and where Flink does not know that they are unique, it is the other way round.

use millrace_core::Result;
use millrace_expr::Expr;
use millrace_expr::aggregate::{AggregateCall, AggregateFunction};

use super::unique::is_unique;
use crate::plan::{Op, Rel};

pub(super) fn apply(mut rel: Rel) -> Result<Rel> {
    rel.inputs = rel.inputs.into_iter().map(apply).collect::<Result<_>>()?;
    let Op::Aggregate { keys, calls, .. } = &rel.op else {
        return Ok(rel);
    };
    let input = &rel.inputs[0];
    let one_row_each = || !keys.is_empty() && is_unique(input, &keys.iter().copied().collect());
    if !calls.iter().all(is_value_of_one) || !one_row_each() {
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
