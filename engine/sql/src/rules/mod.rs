//! Rewrites of bound queries. One rule, one file; each keeps what a query means.
//!
//! Order: columns that nobody reads are pruned; tables become sources with what is computed and
//! watermarked right behind them, one form for all that read the same table in a job; adjacent
//! Calcs become one; constant filters go; Calcs that do nothing go.
//!
//! All streams of this issue hold inserts only. The changelog mode of an edge, once there are
//! updates, is inferred between `expand_tables` and `merge_calcs`, where the shape is final and
//! the operators are still one concept each.

mod constant_filters;
mod expand_tables;
mod expressions;
mod merge_calcs;
mod prune_columns;
mod remove_identities;

use millrace_core::Result;

use crate::plan::{InsertPlan, Rel};

/// Optimizes the statements of one job together.
pub(crate) fn optimize(mut inserts: Vec<InsertPlan>) -> Result<Vec<InsertPlan>> {
    let queries = inserts
        .iter_mut()
        .map(|i| std::mem::replace(&mut i.query, empty()))
        .collect();
    for (insert, query) in inserts.iter_mut().zip(all(queries)?) {
        insert.query = query;
    }
    Ok(inserts)
}

/// Optimizes a query alone.
pub(crate) fn optimize_query(query: Rel) -> Result<Rel> {
    Ok(all(vec![query])?.pop().unwrap_or_else(empty))
}

fn all(queries: Vec<Rel>) -> Result<Vec<Rel>> {
    let pruned = queries.into_iter().map(prune_columns::apply).collect();
    let last = |q| remove_identities::apply(constant_filters::apply(merge_calcs::apply(q)));
    Ok(expand_tables::apply(pruned)?.into_iter().map(last).collect())
}

fn empty() -> Rel {
    Rel::Values {
        rows: Vec::new(),
        output: Default::default(),
    }
}
