//! The hint STATE_TTL of a SELECT: how long what its joins and its aggregation keep of an input lives, by the
//! input's name.

use millrace_core::duration;
use sqlparser::tokenizer::Span;

use super::Binder;
use super::scope::Scope;
use crate::error::{Result, SqlError};
use crate::plan::{Op, Rel};

/// Names of tables, views and subqueries in FROM with milliseconds; 0: for ever.
#[derive(Debug, Clone, Default)]
pub(super) struct StateTtls(Vec<(String, i64)>);

impl StateTtls {
    fn of(&self, name: &str) -> Option<i64> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, millis)| *millis)
    }

    /// Of an input of a join or an aggregation: it has to have a name of its own.
    pub fn of_input(&self, scope: &Scope) -> Option<i64> {
        match self.0.is_empty() {
            true => None,
            false => self.of(name(scope)?),
        }
    }

    /// All names have to be there.
    pub fn check(&self, from: &Scope, at: Span) -> Result<()> {
        let is_there = |name: &str| {
            from.columns
                .iter()
                .any(|c| c.relation.last().is_some_and(|n| n == name))
        };
        match self.0.iter().find(|(name, _)| !is_there(name)) {
            None => Ok(()),
            Some((name, _)) => Err(SqlError::new(
                format!("the hint STATE_TTL names '{name}', which FROM has not"),
                at,
            )
            .with_hint("it takes aliases, and names of tables that have none, as they are written")),
        }
    }
}

/// The name that all columns of an input have before theirs.
fn name(scope: &Scope) -> Option<&str> {
    let mut names = scope.columns.iter().map(|column| column.relation.last());
    let name = names.next()??;
    names.all(|other| other == Some(name)).then_some(name.as_str())
}

/// Sets what a hint says of an aggregation's input.
pub(super) fn with(mut aggregate: Rel, ttl: Option<i64>) -> Rel {
    if let Op::Aggregate { state_ttl, .. } = &mut aggregate.op {
        *state_ttl = ttl;
    }
    aggregate
}

impl Binder<'_> {
    /// What the hints behind a SELECT say. Of equal names in one hint the last counts, in several the first.
    pub(super) fn state_ttls(&mut self, select: Span) -> Result<StateTtls> {
        let mut all = StateTtls::default();
        for hint in self.hints_at(select.start, &["STATE_TTL"])? {
            let mut of_hint: Vec<(String, i64)> = Vec::new();
            for (name, value) in hint.options {
                let Some(ttl) = duration::parse(&value) else {
                    return Err(SqlError::new(
                        format!("'{value}' is no time to live for '{name}'"),
                        hint.span,
                    )
                    .with_hint("write it as in /*+ STATE_TTL('orders' = '12 h') */"));
                };
                of_hint.retain(|(known, _)| *known != name);
                of_hint.push((name, i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)));
            }
            of_hint.retain(|(name, _)| all.of(name).is_none());
            all.0.extend(of_hint);
        }
        Ok(all)
    }
}
