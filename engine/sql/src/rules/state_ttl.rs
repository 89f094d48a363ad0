//! `table.exec.state.ttl`: refused where state is kept for as long as a job runs. With the option such an
//! operator of Flink forgets what was not touched for long, and gives other rows then.

use std::time::Duration;

use millrace_core::{Error, Result};

use crate::plan::{InsertPlan, Op, Rel};

pub(super) fn check(insert: &InsertPlan, ttl: Duration) -> Result<()> {
    if ttl.is_zero() {
        return Ok(());
    }
    if insert.materializer.is_some() {
        return Err(refused("a sink whose key is not the query's"));
    }
    of_query(&insert.query)
}

fn of_query(rel: &Rel) -> Result<()> {
    let what = match &rel.op {
        Op::Aggregate { calls, .. } if calls.is_empty() => Some("DISTINCT"),
        Op::Aggregate { .. } => Some("GROUP BY"),
        Op::ChangelogNormalize { .. } => Some("a table of changes by key"),
        Op::Rank(_) => Some("ROW_NUMBER"),
        Op::Over(_) => Some("OVER"),
        Op::Join(join) if join.interval.is_none() => Some("a join"),
        // Without state, or with state that time itself ends.
        Op::Join(_)
        | Op::WindowAggregate(_)
        | Op::Table { .. }
        | Op::Scan { .. }
        | Op::Calc { .. }
        | Op::Watermark { .. }
        | Op::Union
        | Op::Values { .. }
        | Op::Expand(_)
        | Op::DropUpdateBefore
        | Op::WindowTable(_) => None,
    };
    match what {
        Some(what) => Err(refused(what)),
        None => rel.inputs.iter().try_for_each(of_query),
    }
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!("'table.exec.state.ttl' for {what}")).with_hint(
        "leave it out, and bound the state by time: a window, an interval join, or OVER with RANGE PRECEDING",
    )
}
