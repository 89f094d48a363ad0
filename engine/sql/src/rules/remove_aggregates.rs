//! Of groups that have one row each, SUM, MIN and MAX are the value of the row: an aggregation whose keys hold
//! a key of its input is a Calc. Flink's `FlinkAggregateRemoveRule`, without which a changelog would delete
//! and insert where Flink updates.

use millrace_core::Result;
use millrace_expr::Expr;
use millrace_expr::aggregate::{AggregateCall, AggregateFunction};

use crate::plan::{Op, Rel};
use crate::upsert_keys;

pub(super) fn apply(rel: Rel) -> Result<Rel> {
    let mut failed = None;
    let rel = remove(rel, &mut failed);
    failed.map_or(Ok(rel), Err)
}

fn remove(rel: Rel, failed: &mut Option<millrace_core::Error>) -> Rel {
    let mut rel = rel.map_inputs(&mut |input| remove(input, failed));
    let Op::Aggregate { keys, calls, .. } = &rel.op else {
        return rel;
    };
    let input = &rel.inputs[0];
    let one_row_each = !keys.is_empty()
        && upsert_keys::of(input)
            .iter()
            .any(|key| key.iter().all(|column| keys.contains(column)));
    if !one_row_each || !calls.iter().all(is_value_of_one) {
        return rel;
    }
    let column = |index: usize| Expr::column(index, input.output.fields[index].data_type.clone());
    let values = calls.iter().filter_map(|call| {
        let value = column(call.arg?);
        Some(millrace_expr::cast::cast(value, call.data_type.clone()))
    });
    let projection: Result<Vec<Expr>> = keys.iter().map(|key| Ok(column(*key))).chain(values).collect();
    match projection {
        Ok(projection) => {
            let names = rel.output.names();
            Rel::calc(rel.inputs.remove(0), None, projection, names)
        }
        Err(error) => {
            *failed = Some(error);
            rel
        }
    }
}

fn is_value_of_one(call: &AggregateCall) -> bool {
    use AggregateFunction::{Max, Min, Sum};
    matches!(call.function, Sum | Min | Max) && call.arg.is_some() && call.filter.is_none()
}
