//! A session: statements change its catalog and configuration, or give jobs.

use std::sync::Arc;

use millrace_connector_api::Registry;
use millrace_core::options::PIPELINE_NAME;
use millrace_core::{Configuration, Error, Result};
use millrace_dataflow::{Graph, explain};

use crate::aggregation::Aggregation;
use crate::binder::{self, Binder};
use crate::catalog::{Catalog, Object};
use crate::error::{Result as SqlResult, SqlError};
use crate::parser::source::Source;
use crate::parser::statement::{Details, Insert, Parsed, Statement};
use crate::parser::{self, tokens};
use crate::{json_plan, lower, rules, settings, show};

/// Bytes of stack for a script; only what is used of it is ever taken from the machine.
const STACK: usize = 256 << 20;

/// What a statement gave.
#[derive(Debug)]
pub enum Outcome {
    /// A job to run: of an INSERT, or of a statement set.
    Job(Job),
    /// What EXPLAIN, SHOW, DESCRIBE and a bare SET print.
    Text(String),
    /// The statement changed the session.
    Done,
}

/// A job as it is planned.
#[derive(Debug, Clone)]
pub struct Job {
    pub graph: Graph,
    /// `pipeline.name`, if it is set.
    pub name: Option<String>,
    /// The session's configuration at the statement.
    pub config: Configuration,
    /// The statement's text.
    pub statements: String,
}

/// Tables, views and configuration, from one statement to the next.
pub struct Session {
    registry: Registry,
    /// What RESET goes back to.
    initial: Configuration,
    config: Configuration,
    catalog: Catalog,
}

impl Session {
    /// A session that starts without tables. Options of `config` hold until SET changes them.
    pub fn new(config: Configuration, registry: Registry) -> Session {
        Session {
            registry,
            initial: config.clone(),
            config,
            catalog: Catalog::default(),
        }
    }

    /// Parses, binds and plans all statements of a script, in order. On an error nothing is
    /// returned and the session is as it was before.
    ///
    /// Errors are the user's: what is wrong, its line with a caret below it, and what to do.
    pub fn execute(&mut self, script: &str) -> Result<Vec<Outcome>> {
        // Long chains of operators are deep trees, which the parser's types walk by recursion: the
        // limit on their length (`parser::MAX_OPERATORS`) goes with this stack.
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("sql".to_owned())
                .stack_size(STACK)
                .spawn_scoped(scope, || self.execute_here(script))
                .map_err(|e| Error::external("no thread could be started").with_source(e))?
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn execute_here(&mut self, script: &str) -> Result<Vec<Outcome>> {
        let tokens = tokens::tokenize(script).map_err(|(e, source)| e.into_error(&source))?;
        let source = tokens.source.clone();
        let before = (self.config.clone(), self.catalog.clone());
        let result = self.execute_all(tokens, &source);
        result.map_err(|e| {
            (self.config, self.catalog) = before;
            e.into_error(&source)
        })
    }

    fn execute_all(&mut self, tokens: tokens::Tokens, source: &Arc<Source>) -> SqlResult<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for parsed in parser::parse(tokens)? {
            // What has no better place stands where its statement begins.
            let at = parsed.span;
            let at = sqlparser::tokenizer::Span::new(at.start, at.start);
            outcomes.push(self.statement(parsed, source).map_err(|e| e.or_at(at))?);
        }
        Ok(outcomes)
    }

    fn statement(&mut self, parsed: Parsed, source: &Arc<Source>) -> SqlResult<Outcome> {
        let Parsed { statement, span } = parsed;
        let mut binder = Binder::new(&self.catalog, &self.registry, &self.config, source.clone());
        match &statement {
            Statement::Insert(insert) => {
                let graph = plan(&mut binder, &self.config, std::slice::from_ref(insert))?;
                binder.check_hints(span)?;
                return self.job(graph, source.slice(span));
            }
            Statement::InsertSet(inserts) => {
                let graph = plan(&mut binder, &self.config, inserts)?;
                binder.check_hints(span)?;
                return self.job(graph, source.slice(span));
            }
            Statement::Explain { details, inserts } => {
                let graph = plan(&mut binder, &self.config, inserts)?;
                binder.check_hints(span)?;
                return Ok(Outcome::Text(explained(&graph, *details)?));
            }
            Statement::ExplainQuery { details, query } => {
                let rel = binder.bind_query(query)?;
                binder.check_hints(span)?;
                let rel = rules::optimize_query(rel).map_err(SqlError::from)?;
                let graph = lower::query(rel, Aggregation::of(&self.config).map_err(SqlError::from)?);
                return Ok(Outcome::Text(explained(&graph, *details)?));
            }
            Statement::CreateView(create) => {
                if create.if_not_exists && self.catalog.is_there(&create.name, create.temporary)? {
                    return Ok(Outcome::Done);
                }
                let view = binder::bind_view(create, &mut binder, source)?;
                binder.check_hints(span)?;
                self.catalog
                    .create(&create.name, Object::View(Arc::new(view)), create.if_not_exists)?;
                return Ok(Outcome::Done);
            }
            _ => binder.check_hints(span)?,
        }
        match statement {
            Statement::CreateTable(create) => {
                if create.if_not_exists && self.catalog.is_there(&create.name, create.temporary)? {
                    return Ok(Outcome::Done);
                }
                let table = binder::bind_table(&create, &self.catalog, source)?;
                self.catalog
                    .create(&create.name, Object::Table(Arc::new(table)), create.if_not_exists)?;
            }
            Statement::Drop {
                view,
                name,
                if_exists,
                temporary,
            } => {
                self.catalog.drop(&name, view, if_exists, temporary)?;
            }
            Statement::Show(what) => return Ok(Outcome::Text(show::show(&what, &self.catalog)?)),
            Statement::Describe(name) => return Ok(Outcome::Text(show::describe(&name, &self.catalog)?)),
            Statement::Set { key, value, span } => {
                settings::check(&key, &value).map_err(|e| SqlError::from(e).or_at(span))?;
                self.config.set(key, value);
            }
            Statement::SetAll => {
                let rows: Vec<_> = self
                    .config
                    .shown()
                    .map(|(k, v)| vec![k.to_owned(), v.to_owned()])
                    .collect();
                return Ok(Outcome::Text(show::table(&["key", "value"], &rows)));
            }
            Statement::Reset(None) => self.config = self.initial.clone(),
            Statement::Reset(Some(key)) => match self.initial.raw(&key) {
                Some(value) => self.config.set(key.clone(), value.to_owned()),
                None => self.config.remove(&key),
            },
            // There is one catalog with one database: the parser has checked the name.
            Statement::Use => {}
            Statement::CreateView(_)
            | Statement::Insert(_)
            | Statement::InsertSet(_)
            | Statement::Explain { .. }
            | Statement::ExplainQuery { .. } => {
                return Err(SqlError::from(Error::internal("a statement was handled twice")));
            }
        }
        Ok(Outcome::Done)
    }

    fn job(&self, graph: Graph, text: &str) -> SqlResult<Outcome> {
        settings::check_all(&self.config).map_err(SqlError::from)?;
        Ok(Outcome::Job(Job {
            graph,
            name: self.config.get_optional(&PIPELINE_NAME).map_err(SqlError::from)?,
            config: self.config.clone(),
            statements: text.to_owned(),
        }))
    }
}

fn plan(
    binder: &mut Binder,
    config: &Configuration,
    inserts: &[impl std::borrow::Borrow<Insert>],
) -> SqlResult<Graph> {
    let mut plans = Vec::with_capacity(inserts.len());
    for insert in inserts {
        plans.push(binder.bind_insert(insert.borrow())?);
    }
    let state_ttl = binder.state_ttl()?;
    let plans = rules::optimize(plans, state_ttl).map_err(SqlError::from)?;
    let aggregation = Aggregation::of(config).map_err(SqlError::from)?;
    Ok(lower::lower(plans, aggregation, state_ttl))
}

fn explained(graph: &Graph, details: Details) -> SqlResult<String> {
    let shown = explain::Details {
        changelog_mode: details.changelog_mode,
    };
    let mut text = explain::explain_with(graph, shown);
    if details.json {
        text.push_str("\n== Physical Execution Plan ==\n");
        text.push_str(&json_plan::write(graph).map_err(SqlError::from)?);
        text.push('\n');
    }
    Ok(text)
}
