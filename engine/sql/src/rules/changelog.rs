//! The kinds of rows on each edge, as Flink infers them.
//!
//! From the sources on, each operator says which kinds it can send: inserts, updates, deletes. From
//! the sinks back, each reader then says whether an update has to come with the row as it was before
//! (`-U`), or is known by its key. Who can do without gets less: an update is one row, not two.

use millrace_connector_api::sink::SinkChangelog;
use millrace_connector_api::source::SourceChangelog;
use millrace_core::{Error, Result};
use millrace_dataflow::{Changelog, JoinKind, RankStrategy, SortKey, Window};
use millrace_expr::Expr;

use super::expressions::add_columns;
use super::lay_windows;
use crate::monotonicity::{self, Monotonicity};
use crate::plan::{InsertPlan, Join, Op, Rank, Rel, UpsertMaterialize};
use crate::upsert_keys::{self, KeySet};

/// Which rows a rank keeps, and so what it needs to know of its input.
pub(crate) fn rank_strategy(rel: &Rel, rank: &Rank) -> RankStrategy {
    let input = &rel.inputs[0];
    if input.changelog.is_inserts() {
        return RankStrategy::AppendFast;
    }
    match rising_keys(input, rank) {
        Some(keys) if can_leave_out(input) => RankStrategy::UpdateFast {
            keys: keys.into_iter().collect(),
        },
        _ => RankStrategy::Retract,
    }
}

/// The key of rows that never fall behind where they were in a rank's order.
fn rising_keys(input: &Rel, rank: &Rank) -> Option<KeySet> {
    let keys = upsert_keys::within(input, &rank.partition).into_iter().next()?;
    let monotonicity = monotonicity::of(input)?;
    let rises = |key: &SortKey| match monotonicity.get(key.column) {
        None | Some(Monotonicity::Constant) => true,
        Some(Monotonicity::Increasing) => key.descending,
        Some(Monotonicity::Decreasing) => !key.descending,
        Some(Monotonicity::None) => false,
    };
    rank.order.iter().all(rises).then_some(keys)
}

/// Whether a rank is the first or the last row by time of what is only inserted; and which.
fn deduplicates(rank: &Rank, input: &Rel) -> Option<bool> {
    let [key] = rank.order.as_slice() else {
        return None;
    };
    key.time?;
    let is = !rank.with_number && rank.start == 1 && rank.end == 1 && input.changelog.is_inserts();
    is.then_some(key.descending)
}

/// The query of an INSERT, with the kinds of rows that its sink takes; and where rows have to be held
/// by the sink's key, for that is not the key of the changelog, the changelog's own.
pub(super) fn for_sink(query: Rel, insert: &InsertPlan) -> Result<(Rel, Option<Vec<usize>>)> {
    let query = provide(query);
    check(&query)?;
    let kinds = query.changelog;
    if kinds.is_inserts() {
        return Ok((demand(query, false), None));
    }
    let table = &insert.sink.table;
    let columns = |name: &String| table.columns.iter().position(|c| c.name == *name);
    let key: KeySet = table.primary_key.iter().filter_map(columns).collect();
    let of_query = upsert_keys::of(&query);
    let materializes = !key.is_empty()
        && match insert.materialize {
            UpsertMaterialize::None => false,
            UpsertMaterialize::Force => true,
            UpsertMaterialize::Auto => !of_query.iter().any(|of_query| of_query.is_subset(&key)),
        };
    let smallest = of_query.iter().min_by_key(|key| key.len());
    let materializer = materializes.then(|| smallest.into_iter().flatten().copied().collect());
    match insert.accepts {
        SinkChangelog::Inserts => Err(refused(&query, insert)),
        SinkChangelog::All => Ok((demand(query, true), materializer)),
        SinkChangelog::Upsert => {
            // Without a key the sink does not look at what a row was.
            let by_key = key.is_empty() || of_query.contains(&key);
            let before = !by_key || !can_leave_out(&query);
            let query = match before || materializer.is_some() {
                true => query,
                false => without_normalize(query),
            };
            Ok((demand(query, before), materializer))
        }
    }
}

/// A changelog of the newest rows by key goes to a sink that wants just that as it is, without a
/// ChangelogNormalize, if nothing is computed on the way: of a row that deletes only the key counts.
fn without_normalize(rel: Rel) -> Rel {
    let is_plain = match &rel.op {
        Op::Calc {
            condition: None,
            projection,
        } => projection.iter().all(|e| matches!(e, Expr::Column { .. })),
        _ => false,
    };
    if is_plain {
        let changelog = rel.changelog;
        let rel = rel.map_inputs(&mut without_normalize);
        return Rel { changelog, ..rel };
    }
    match &rel.op {
        Op::ChangelogNormalize { condition: None, .. } if !rel.inputs[0].changelog.before => rel
            .inputs
            .into_iter()
            .next()
            .unwrap_or_else(|| Rel::empty(Default::default())),
        _ => rel,
    }
}

/// A query for somebody who takes rows of all kinds.
pub(super) fn for_reader(query: Rel) -> Result<Rel> {
    let query = provide(query);
    check(&query)?;
    Ok(demand(query, true))
}

/// Refuses what no operator can do.
fn check(rel: &Rel) -> Result<()> {
    let needs_inserts = match &rel.op {
        Op::Over(_) => Some("OVER"),
        Op::Join(join) if join.interval.is_some() => Some("an interval join"),
        Op::Join(join) if join.window.is_some() => Some("a join of windows"),
        Op::Rank(rank) if rank.window.is_some() => Some("ROW_NUMBER within windows"),
        _ => None,
    };
    if let Some(what) = needs_inserts
        && let Some(input) = rel.inputs.iter().find(|input| !input.changelog.is_inserts())
    {
        return Err(Error::user(format!(
            "{what} over rows that are updated or deleted is not supported"
        ))
        .with_detail(format!("they come from {}", origin(input)))
        .with_hint("let each row be given once, by a window, or leave the time out of the condition"));
    }
    if let Op::WindowAggregate(spec) = &rel.op
        && lay_windows::puts_together(&spec.windowing)
        && let Some(call) = spec.calls.iter().find(|call| !call.merges_windows())
    {
        let window = match spec.window() {
            Window::Hop { .. } => "HOP",
            Window::Cumulate { .. } => "CUMULATE",
            _ => "SESSION",
        };
        return Err(Error::user(format!(
            "{} over windows of {window}: Flink refuses it too, for it cannot put results of parts of a window together",
            call.function.name()
        ))
        .with_hint("aggregate by TUMBLE, or take the first or last row of each window by ROW_NUMBER"));
    }
    rel.inputs.iter().try_for_each(check)
}

fn refused(query: &Rel, insert: &InsertPlan) -> Error {
    let what = match (query.changelog.updates, query.changelog.deletes) {
        (true, true) => "updates and deletes",
        (true, false) => "updates",
        _ => "deletes",
    };
    Error::user(format!(
        "table '{}' takes inserts only, and its query gives {what}",
        insert.sink.table.name
    ))
    .with_detail(format!("they come from {}", origin(query)))
    .with_hint(
        "write into a connector that takes updates, such as upsert-kafka or print, or let each result be given \
         once, by a window",
    )
}

/// What makes the updates of a query.
fn origin(rel: &Rel) -> &'static str {
    match &rel.op {
        Op::Aggregate { calls, .. } if calls.is_empty() => "DISTINCT",
        Op::Aggregate { .. } => "GROUP BY",
        Op::Rank(_) => "ROW_NUMBER",
        Op::Join(join)
            if join.kind != JoinKind::Inner && join.interval.is_none() && join.window.is_none() =>
        {
            match join.kind {
                JoinKind::Semi | JoinKind::Anti => "IN or EXISTS",
                _ => "an outer join",
            }
        }
        _ => match rel.inputs.iter().find(|input| !input.changelog.is_inserts()) {
            Some(input) => origin(input),
            None => "the table that it reads",
        },
    }
}

/// Which kinds an operator sends at most, as to whether there are updates and deletes.
fn provide(rel: Rel) -> Rel {
    let mut rel = rel.map_inputs(&mut provide);
    let any = |is: fn(&Changelog) -> bool| rel.inputs.iter().any(|input| is(&input.changelog));
    let of_inputs = Changelog {
        updates: any(|c| c.updates),
        before: any(|c| c.before),
        deletes: any(|c| c.deletes),
    };
    let all = Changelog {
        updates: true,
        before: false,
        deletes: true,
    };
    rel.changelog = match &rel.op {
        Op::Table { .. } | Op::Values { .. } => Changelog::INSERTS,
        Op::Scan { table, .. } => match table.traits.changelog {
            SourceChangelog::Inserts => Changelog::INSERTS,
            all_or_upsert => Changelog {
                updates: true,
                before: all_or_upsert == SourceChangelog::All,
                deletes: true,
            },
        },
        Op::ChangelogNormalize { .. } => Changelog {
            updates: true,
            before: false,
            deletes: true,
        },
        Op::DropUpdateBefore => Changelog {
            before: false,
            ..of_inputs
        },
        Op::Calc { .. } | Op::Watermark { .. } | Op::Union | Op::WindowTable(_) | Op::Expand(_) => of_inputs,
        // A window gives its results once.
        Op::WindowAggregate(_) | Op::Over(_) => Changelog::INSERTS,
        Op::Rank(rank) if rank.window.is_some() => Changelog::INSERTS,
        Op::Rank(rank) => match deduplicates(rank, &rel.inputs[0]) {
            // The first row, once it is known, is never another one.
            Some(false) => Changelog::INSERTS,
            _ => all,
        },
        Op::Join(join) => match join.kind {
            _ if join.interval.is_some() || join.window.is_some() => Changelog::INSERTS,
            JoinKind::Inner | JoinKind::Semi => of_inputs,
            JoinKind::Left | JoinKind::Right | JoinKind::Full | JoinKind::Anti => all,
        },
        Op::Aggregate { calls, state_ttl, .. } => Changelog {
            // Without results there is nothing to update; but where groups are forgotten each row is sent on.
            updates: !calls.is_empty() || !of_inputs.is_inserts() || state_ttl.is_some_and(|ttl| ttl > 0),
            before: false,
            deletes: !of_inputs.is_inserts(),
        },
    };
    rel
}

/// Whether the operators below can send updates without `-U` such that what comes out is right.
fn can_leave_out(rel: &Rel) -> bool {
    if !rel.changelog.updates {
        return true;
    }
    match &rel.op {
        // A row that no longer passes the filter has to be taken back, unless its key decides.
        Op::Calc { condition, .. } => {
            let by_key = condition.as_ref().is_none_or(|condition| {
                let mut read = KeySet::new();
                add_columns(condition, &mut read);
                upsert_keys::of(&rel.inputs[0])
                    .iter()
                    .any(|key| read.is_subset(key))
            });
            by_key && can_leave_out(&rel.inputs[0])
        }
        Op::Watermark { .. } | Op::Union | Op::WindowTable(_) | Op::Expand(_) => {
            rel.inputs.iter().all(can_leave_out)
        }
        Op::Aggregate { .. } | Op::WindowAggregate(_) | Op::Rank(_) => true,
        Op::ChangelogNormalize { .. } | Op::DropUpdateBefore => true,
        Op::Join(join) => (0..2).all(|side| side_can_leave_out(rel, join, side)),
        Op::Over(_) | Op::Table { .. } | Op::Scan { .. } | Op::Values { .. } => true,
    }
}

/// A join replaces a row by its key, if all versions of it have the same join key.
fn side_can_leave_out(rel: &Rel, join: &Join, side: usize) -> bool {
    let input = &rel.inputs[side];
    let columns: Vec<usize> = join
        .keys
        .iter()
        .map(|key| if side == 0 { key.left } else { key.right })
        .collect();
    !input.changelog.updates || (!upsert_keys::within(input, &columns).is_empty() && can_leave_out(input))
}

/// Sets whether updates come with what was before; `before` says what the reader needs.
fn demand(mut rel: Rel, before: bool) -> Rel {
    // A source gives what it gives.
    if let Op::Scan { .. } = rel.op {
        return match rel.changelog.before && !before {
            true => Rel::drop_update_before(rel),
            false => rel,
        };
    }
    rel.changelog.before = before && rel.changelog.updates;
    let below = match &rel.op {
        // What is summed up has to be taken out again.
        Op::Aggregate { .. } | Op::WindowAggregate(_) => true,
        Op::Rank(rank) => rank_strategy(&rel, rank) == RankStrategy::Retract,
        // It knows what was before.
        Op::ChangelogNormalize { .. } => false,
        _ => before,
    };
    rel.map_inputs(&mut |input| demand(input, below))
}
