//! Rewrites of bound queries. One rule, one file; each keeps what a query means.
//!
//! Order: conditions go into joins and filters on row numbers become top-Ns, while tables still say
//! which columns are their clocks; columns that nobody reads are pruned; tables become sources with
//! what is computed and watermarked right behind them, one form for all that read the same table in a
//! job; adjacent Calcs become one; aggregations of single rows become Calcs; others lay their windows themselves; filters go into the
//! ChangelogNormalize below them; constant filters go; Calcs that do nothing go.
//!
//! Last, when the shape is final, the kinds of rows on each edge are inferred (`changelog`).

mod changelog;
mod changelog_normalize;
mod constant_filters;
mod expand_tables;
mod expressions;
mod interval;
mod joins;
mod lay_windows;
mod merge_calcs;
mod prune_columns;
mod rank;
mod remove_aggregates;
mod remove_identities;
pub(crate) mod state_ttl;
mod unique;
mod window_join;

pub(crate) use changelog::rank_strategy;
pub(crate) use expressions::all_of;
pub(crate) use interval::bounds as interval_bounds;
pub(crate) use merge_calcs::apply as merge_calcs;
pub(crate) use prune_columns::cheapest;
pub(crate) use window_join::windows as joined_windows;

use millrace_core::Result;
use millrace_expr::RowType;

use crate::plan::{InsertPlan, Rel};

/// Optimizes the statements of one job together; what they keep lives for `state_ttl` milliseconds, 0 for ever.
pub(crate) fn optimize(mut inserts: Vec<InsertPlan>, state_ttl: i64) -> Result<Vec<InsertPlan>> {
    let queries = inserts
        .iter_mut()
        .map(|i| std::mem::replace(&mut i.query, Rel::empty(RowType::default())))
        .collect();
    for (insert, mut query) in inserts.iter_mut().zip(all(queries)?) {
        state_ttl::stamp(&mut query, state_ttl);
        (insert.query, insert.materializer) = changelog::for_sink(query, insert)?;
        state_ttl::check(insert, state_ttl)?;
    }
    Ok(inserts)
}

/// Optimizes a query alone; whoever reads it takes rows of all kinds.
pub(crate) fn optimize_query(query: Rel) -> Result<Rel> {
    let query = all(vec![query])?.pop();
    query.map_or_else(|| Ok(Rel::empty(RowType::default())), changelog::for_reader)
}

fn all(queries: Vec<Rel>) -> Result<Vec<Rel>> {
    let shaped = queries
        .into_iter()
        .map(|query| {
            let query = merge_calcs::apply(query);
            window_join::check(&query)?;
            rank::apply(merge_calcs::apply(joins::apply(query)))
        })
        .collect::<Result<Vec<_>>>()?;
    let pruned = shaped.into_iter().map(prune_columns::apply).collect();
    let merged = |q| {
        let removed = remove_aggregates::apply(merge_calcs::apply(q))?;
        Ok(merge_calcs::apply(lay_windows::apply(merge_calcs::apply(
            removed,
        ))))
    };
    let merged: Result<Vec<Rel>> = expand_tables::apply(pruned)?.into_iter().map(merged).collect();
    let pushed = changelog_normalize::apply(merged?);
    let last = |q| remove_identities::apply(constant_filters::apply(q));
    Ok(pushed.into_iter().map(last).collect())
}
