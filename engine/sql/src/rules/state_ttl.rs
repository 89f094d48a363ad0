//! How long what an operator keeps lives (`table.exec.state.ttl`), and what is refused with it.

use millrace_core::{Error, Result};
use millrace_dataflow::{Frame, TimeKind};

use crate::plan::{InsertPlan, Op, Rel};

/// For each input, how long what is kept of it lives, in milliseconds; 0: for ever. None where nothing is
/// kept, or time itself ends it.
pub(crate) fn of(op: &Op, job: i64) -> Vec<i64> {
    match op {
        Op::Aggregate { state_ttl, .. } => vec![state_ttl.unwrap_or(job)],
        Op::ChangelogNormalize { .. } | Op::Rank(_) | Op::Over(_) => vec![job],
        Op::Join(join) if join.interval.is_none() => {
            join.state_ttl.iter().map(|ttl| ttl.unwrap_or(job)).collect()
        }
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
        | Op::WindowTable(_) => Vec::new(),
    }
}

/// Has aggregations know the job's time to live: with one they send updates also where their results stay
/// the same.
pub(super) fn stamp(rel: &mut Rel, job: i64) {
    if let Op::Aggregate { state_ttl, .. } = &mut rel.op {
        state_ttl.get_or_insert(job);
    }
    rel.inputs.iter_mut().for_each(|input| stamp(input, job));
}

pub(super) fn check(insert: &InsertPlan, job: i64) -> Result<()> {
    match job {
        0 => Ok(()),
        _ => of_query(&insert.query),
    }
}

/// Flink forgets the accumulators of a function over processing time, and what some keep beside them not.
fn of_query(rel: &Rel) -> Result<()> {
    if let Op::Over(over) = &rel.op
        && over.order.first().and_then(|key| key.time) == Some(TimeKind::Processing)
        && matches!(over.frame, Frame::Rows(None) | Frame::Range(None))
    {
        let aggregates = over.calls.iter().filter_map(|call| call.aggregate());
        let mut kept = aggregates
            .filter(|call| call.is_distinct() || call.keeps_map(false) && !call.map_lives_with_row(false));
        if let Some(call) = kept.next() {
            let distinct = if call.is_distinct() { "(DISTINCT)" } else { "" };
            let name = format!("{}{distinct}", call.function.name());
            return Err(Error::unsupported(format!(
                "'table.exec.state.ttl' for {name} in OVER by processing time"
            ))
            .with_hint("leave the option out, or order by an event time"));
        }
    }
    rel.inputs.iter().try_for_each(of_query)
}
