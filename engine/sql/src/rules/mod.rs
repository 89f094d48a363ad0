//! Rewrites of bound queries. One rule, one file; each keeps what a query means.
//!
//! Order: columns that nobody reads are pruned; tables become sources with what is computed and
//! watermarked right behind them, one form for all that read the same table in a job; adjacent
//! Calcs become one; filters go into the ChangelogNormalize below them; constant filters go; Calcs that do nothing go.
//!
//! Last, when the shape is final, the kinds of rows on each edge are inferred (`changelog`).

mod changelog;
mod changelog_normalize;
mod constant_filters;
mod expand_tables;
mod expressions;
mod merge_calcs;
mod prune_columns;
mod remove_identities;

use millrace_core::Result;
use millrace_expr::RowType;

use crate::plan::{InsertPlan, Rel};

/// Optimizes the statements of one job together.
pub(crate) fn optimize(mut inserts: Vec<InsertPlan>) -> Result<Vec<InsertPlan>> {
    let queries = inserts
        .iter_mut()
        .map(|i| std::mem::replace(&mut i.query, Rel::empty(RowType::default())))
        .collect();
    for (insert, query) in inserts.iter_mut().zip(all(queries)?) {
        (insert.query, insert.materializer) = changelog::for_sink(query, insert)?;
    }
    Ok(inserts)
}

/// Optimizes a query alone; whoever reads it takes rows of all kinds.
pub(crate) fn optimize_query(query: Rel) -> Result<Rel> {
    let query = all(vec![query])?.pop();
    Ok(query.map_or_else(|| Rel::empty(RowType::default()), changelog::for_reader))
}

fn all(queries: Vec<Rel>) -> Result<Vec<Rel>> {
    let pruned = queries.into_iter().map(prune_columns::apply).collect();
    let merged = expand_tables::apply(pruned)?.into_iter().map(merge_calcs::apply);
    let pushed = changelog_normalize::apply(merged.collect());
    let last = |q| remove_identities::apply(constant_filters::apply(q));
    Ok(pushed.into_iter().map(last).collect())
}
