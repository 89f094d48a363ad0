//! From statements as written to typed plans: names, types, functions, options.
//!
//! Layout: `query` SELECT, VALUES, UNION ALL, WITH; `scope` names; `expr` expressions, `literal`
//! literals, `function` calls; `aggregate` GROUP BY, `grouping_sets` what it names, `aggregate_call` its
//! functions, `over` OVER and its; `table` a table's declaration, `like` the LIKE clause, `read` a table
//! in FROM; `insert` a query into a sink, `window` window table functions; `join` joins, `subquery` IN
//! and EXISTS.

mod aggregate;
mod aggregate_call;
mod expr;
mod function;
mod grouping_sets;
mod insert;
mod join;
mod like;
mod literal;
mod over;
mod over_call;
mod query;
mod read;
mod scope;
mod state_ttl;
mod subquery;
mod table;
mod variance;
mod window;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use millrace_connector_api::Registry;
use millrace_core::Configuration;
use millrace_core::options::STATE_TTL;
use sqlparser::tokenizer::{Location, Span};

use self::state_ttl::StateTtls;
pub(crate) use table::{bind_table, bind_view};

use crate::catalog::Catalog;
use crate::error::{Result, SqlError};
use crate::parser::source::{Hint, HintKey, Source};
use crate::plan::{ReadTable, Rel};

/// Binds one statement.
pub(crate) struct Binder<'a> {
    catalog: &'a Catalog,
    registry: &'a Registry,
    config: &'a Configuration,
    /// The text that the statement, or the view at hand, is part of.
    source: Arc<Source>,
    /// Queries of WITH by name, innermost last.
    ctes: Vec<HashMap<String, Rel>>,
    /// Hints that were looked at where they may stand.
    used_hints: BTreeSet<HintKey>,
    /// Of the SELECT at hand.
    state_ttls: StateTtls,
    /// Tables that were read, for equal ones to be the same.
    tables: Vec<Arc<ReadTable>>,
}

impl<'a> Binder<'a> {
    pub fn new(
        catalog: &'a Catalog,
        registry: &'a Registry,
        config: &'a Configuration,
        source: Arc<Source>,
    ) -> Self {
        Binder {
            catalog,
            registry,
            config,
            source,
            ctes: Vec::new(),
            used_hints: BTreeSet::new(),
            state_ttls: StateTtls::default(),
            tables: Vec::new(),
        }
    }

    /// How long state that nobody writes is kept, in milliseconds; 0 for ever.
    pub fn state_ttl(&self) -> Result<i64> {
        let ttl = self.config.get(&STATE_TTL)?;
        Ok(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
    }

    /// The hints behind a token, which must be of the kinds that may stand there.
    fn hints_at(&mut self, token: Location, allowed: &[&str]) -> Result<Vec<Hint>> {
        let key = (token.line, token.column);
        let Some(hints) = self.source.hints.get(&key) else {
            return Ok(Vec::new());
        };
        self.used_hints.insert(key);
        for hint in hints {
            check_hint(hint, allowed)?;
        }
        Ok(hints.clone())
    }

    /// Refuses hints of a statement that stand where none may.
    pub fn check_hints(&self, statement: Span) -> Result<()> {
        let from = (statement.start.line, statement.start.column);
        let to = (statement.end.line, statement.end.column);
        for (key, hints) in self.source.hints.range(from..to) {
            if !self.used_hints.contains(key) {
                for hint in hints {
                    check_hint(hint, &[])?;
                }
            }
        }
        Ok(())
    }
}

fn check_hint(hint: &Hint, allowed: &[&str]) -> Result<()> {
    let name = hint.name.to_uppercase();
    if allowed.contains(&name.as_str()) {
        return Ok(());
    }
    Err(match name.as_str() {
        "OPTIONS" => SqlError::new("the hint OPTIONS stands behind a table's name only", hint.span),
        "STATE_TTL" => SqlError::new("the hint STATE_TTL stands behind SELECT only", hint.span),
        "BROADCAST" | "SHUFFLE_HASH" | "SHUFFLE_MERGE" | "NEST_LOOP" | "LOOKUP" | "MULTI_JOIN"
        | "EARLY_FIRE" => SqlError::unsupported(format!("the hint {name}"), hint.span),
        _ => SqlError::new(format!("there is no hint '{}'", hint.name), hint.span),
    })
}
