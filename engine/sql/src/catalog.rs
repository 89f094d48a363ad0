//! The tables and views of a session, in the one catalog and database there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_expr::{DataType, Expr, RowType};
use sqlparser::ast::Query;

use crate::error::{Result, SqlError, nearest};
use crate::parser::check_path;
use crate::parser::source::Source;
use crate::parser::statement::{Name, Written};
use crate::plan::TimeAttribute;

pub(crate) const CATALOG: &str = "default_catalog";
pub(crate) const DATABASE: &str = "default_database";

/// A declared table: its schema is bound, its options are not looked at before it is used.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub name: String,
    pub temporary: bool,
    pub columns: Vec<TableColumn>,
    pub watermark: Option<TableWatermark>,
    /// Names of physical columns; empty without a key.
    pub primary_key: Vec<String>,
    pub partition_keys: Vec<String>,
    pub comment: Option<String>,
    pub options: BTreeMap<String, String>,
    /// Where its expressions are written.
    pub source: Arc<Source>,
}

#[derive(Debug, Clone)]
pub(crate) struct TableColumn {
    pub name: String,
    pub data_type: DataType,
    pub kind: TableColumnKind,
    pub comment: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum TableColumnKind {
    Physical,
    Metadata {
        key: Option<String>,
        is_virtual: bool,
    },
    /// Over the table's columns by index.
    Computed {
        expr: Expr,
        written: Box<Written>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct TableWatermark {
    pub column: usize,
    /// Over the table's columns by index, computed ones included.
    pub expression: Expr,
    pub written: Written,
}

/// A view: its query is bound anew where it is used, its columns are fixed.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub name: String,
    pub temporary: bool,
    pub row_type: RowType,
    /// Of each column.
    pub time_attributes: Vec<Option<TimeAttribute>>,
    pub comment: Option<String>,
    pub query: Box<Query>,
    /// The query's text.
    pub text: String,
    pub source: Arc<Source>,
}

#[derive(Debug, Clone)]
pub(crate) enum Object {
    Table(Arc<Table>),
    View(Arc<View>),
}

impl Object {
    fn temporary(&self) -> bool {
        match self {
            Object::Table(t) => t.temporary,
            Object::View(v) => v.temporary,
        }
    }

    pub fn is_view(&self) -> bool {
        matches!(self, Object::View(_))
    }
}

/// Temporary objects hide permanent ones of the same name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    permanent: BTreeMap<String, Object>,
    temporary: BTreeMap<String, Object>,
}

impl Catalog {
    /// Adds an object. With `if_not_exists` one that is there stays, and nothing is done.
    pub fn create(&mut self, at: &Name, object: Object, if_not_exists: bool) -> Result<()> {
        let name = object_name(at)?.to_owned();
        let objects = if object.temporary() {
            &mut self.temporary
        } else {
            &mut self.permanent
        };
        if objects.contains_key(&name) {
            if if_not_exists {
                return Ok(());
            }
            return Err(
                SqlError::new(format!("a table or view '{name}' exists already"), at.span())
                    .with_hint("DROP it first, or CREATE ... IF NOT EXISTS"),
            );
        }
        objects.insert(name, object);
        Ok(())
    }

    /// Whether `create` with `if_not_exists` would do nothing.
    pub fn is_there(&self, at: &Name, temporary: bool) -> Result<bool> {
        let name = object_name(at)?;
        Ok(if temporary {
            &self.temporary
        } else {
            &self.permanent
        }
        .contains_key(name))
    }

    pub fn get(&self, at: &Name) -> Result<&Object> {
        let name = object_name(at)?;
        self.find(name).ok_or_else(|| self.unknown(name, at))
    }

    fn find(&self, name: &str) -> Option<&Object> {
        self.temporary.get(name).or_else(|| self.permanent.get(name))
    }

    fn unknown(&self, name: &str, at: &Name) -> SqlError {
        let error = SqlError::new(format!("there is no table or view '{name}'"), at.span());
        match nearest(name, self.names()) {
            Some(known) => error.with_hint(format!("did you mean '{known}'?")),
            None => {
                let names: Vec<_> = self.names().collect();
                error.with_hint(match names.is_empty() {
                    true => "there are none yet: CREATE TABLE comes first".to_owned(),
                    false => format!("there are: {}", names.join(", ")),
                })
            }
        }
    }

    /// Removes an object of the kind that the statement names.
    pub fn drop(&mut self, at: &Name, view: bool, if_exists: bool, temporary: bool) -> Result<()> {
        let name = object_name(at)?;
        let what = if view { "view" } else { "table" };
        let found = match temporary {
            true => self.temporary.get(name),
            false => self.find(name),
        };
        match found {
            None if if_exists => return Ok(()),
            None => return Err(self.unknown(name, at)),
            Some(object) if object.is_view() != view => {
                let is = if object.is_view() { "view" } else { "table" };
                return Err(SqlError::new(format!("'{name}' is no {what}"), at.span())
                    .with_hint(format!("it is dropped by DROP {}", is.to_uppercase())));
            }
            Some(object) if object.temporary() && !temporary => {
                return Err(
                    SqlError::new(format!("the {what} '{name}' is temporary"), at.span())
                        .with_hint(format!("it is dropped by DROP TEMPORARY {}", what.to_uppercase())),
                );
            }
            Some(_) => {}
        }
        if temporary {
            &mut self.temporary
        } else {
            &mut self.permanent
        }
        .remove(name);
        Ok(())
    }

    /// Names in order, each once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names: std::collections::BTreeSet<&str> = self
            .temporary
            .keys()
            .chain(self.permanent.keys())
            .map(String::as_str)
            .collect();
        names.into_iter()
    }

    /// Objects in the order of their names, those that are hidden left out.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.names().filter_map(|n| self.find(n).map(|o| (n, o)))
    }
}

/// The object's own name; its catalog and database are checked.
pub(crate) fn object_name(name: &Name) -> Result<&str> {
    let Some((object, path)) = name.parts.split_last() else {
        return Err(SqlError::from(millrace_core::Error::internal(
            "a name without parts",
        )));
    };
    check_path(path, 2)?;
    Ok(&object.value)
}
