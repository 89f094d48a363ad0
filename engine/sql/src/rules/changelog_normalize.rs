//! A filter over a ChangelogNormalize goes below it as far as it reads the key only, for then all rows
//! of a key pass or none; the rest becomes the operator's own condition. So rows that do not pass are
//! not kept, and an update need not come with the row as it was before.
//!
//! Not where several read the same ChangelogNormalize: each would have a state of its own.

use millrace_expr::Expr;

use super::expressions::{add_columns, all_of, conjuncts, is_deterministic};
use crate::plan::{Op, Rel};
use crate::upsert_keys::KeySet;

pub(super) fn apply(queries: Vec<Rel>) -> Vec<Rel> {
    let mut all: Vec<Rel> = Vec::new();
    queries.iter().for_each(|query| collect(query, &mut all));
    let shared = |rel: &Rel| all.iter().filter(|other| *other == rel).count() > 1;
    queries.into_iter().map(|query| push(query, &shared)).collect()
}

fn collect(rel: &Rel, all: &mut Vec<Rel>) {
    if let Op::ChangelogNormalize { .. } = rel.op {
        all.push(rel.clone());
    }
    rel.inputs.iter().for_each(|input| collect(input, all));
}

fn push(rel: Rel, shared: &impl Fn(&Rel) -> bool) -> Rel {
    let mut rel = rel.map_inputs(&mut |input| push(input, shared));
    let Op::Calc {
        condition: filter @ Some(_),
        ..
    } = &mut rel.op
    else {
        return rel;
    };
    let Op::ChangelogNormalize {
        keys,
        condition: None,
    } = &rel.inputs[0].op
    else {
        return rel;
    };
    if shared(&rel.inputs[0]) {
        return rel;
    }
    let key: KeySet = keys.iter().copied().collect();
    let parts = filter.take().map(conjuncts).unwrap_or_default();
    let (pushed, kept): (Vec<Expr>, Vec<Expr>) = parts.into_iter().partition(is_deterministic);
    let of_key = |part: &Expr| {
        let mut read = KeySet::new();
        add_columns(part, &mut read);
        read.is_subset(&key)
    };
    let (below, within): (Vec<Expr>, Vec<Expr>) = pushed.into_iter().partition(of_key);
    *filter = all_of(kept);
    let keys = keys.clone();
    let input = std::mem::replace(&mut rel.inputs[0], Rel::empty(Default::default()));
    let input = input.inputs.into_iter().next();
    rel.inputs = input
        .map(|input| {
            let input = match all_of(below) {
                None => input,
                Some(filter) => Rel::filter(input, filter),
            };
            Rel::changelog_normalize(input, keys, all_of(within))
        })
        .into_iter()
        .collect();
    rel
}
