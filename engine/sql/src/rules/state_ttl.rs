//! `table.exec.state.ttl`: refused for operators that would give other rows than Flink does, once
//! their state had expired there.

use std::time::Duration;

use millrace_core::{Error, Result};

use crate::plan::{Op, Rel};

pub(super) fn check(rel: &Rel, ttl: Duration) -> Result<()> {
    if ttl.is_zero() {
        return Ok(());
    }
    let what = match &rel.op {
        Op::Rank(_) => Some("ROW_NUMBER"),
        Op::Over(_) => Some("OVER"),
        Op::Join(join) if join.interval.is_none() => Some("a join"),
        _ => None,
    };
    match what {
        Some(what) => Err(
            Error::unsupported(format!("'table.exec.state.ttl' for {what}")).with_hint(
                "leave it out, and bound the state by time: an interval join, a window, or OVER with RANGE PRECEDING",
            ),
        ),
        None => rel.inputs.iter().try_for_each(|input| check(input, ttl)),
    }
}
