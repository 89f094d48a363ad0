//! Which columns a name can mean.

use millrace_expr::{DataType, Expr, Field, RowType, TypeKind};
use sqlparser::ast::Ident;

use crate::error::{Result, SqlError, nearest};
use crate::parser::cursor::join;

/// The columns of FROM, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub columns: Vec<ScopeColumn>,
}

#[derive(Debug, Clone)]
pub(super) struct ScopeColumn {
    pub name: String,
    pub data_type: DataType,
    /// The parts by which its relation can be named, the last one first asked for:
    /// `[catalog, database, table]`, or an alias alone; none if it has no name.
    pub relation: Vec<String>,
    /// One of a pair that USING makes one column of: it is there under its relation's name only.
    pub hidden: bool,
}

impl Scope {
    pub fn new(row: &RowType, relation: &[String]) -> Self {
        let columns = row
            .fields
            .iter()
            .map(|f| ScopeColumn {
                name: f.name.clone(),
                data_type: f.data_type.clone(),
                relation: relation.to_vec(),
                hidden: false,
            })
            .collect();
        Scope { columns }
    }

    /// The columns of a table that is being declared: they have no relation yet.
    pub fn of_fields<'a>(fields: impl Iterator<Item = &'a Field>) -> Self {
        let columns = fields
            .map(|f| ScopeColumn {
                name: f.name.clone(),
                data_type: f.data_type.clone(),
                relation: Vec::new(),
                hidden: false,
            })
            .collect();
        Scope { columns }
    }

    fn column(&self, index: usize) -> Expr {
        Expr::column(index, self.columns[index].data_type.clone())
    }

    /// A column by its own name.
    pub fn by_name(&self, name: &Ident) -> Result<Option<usize>> {
        self.only(name, |c| !c.hidden && c.name == name.value)
    }

    fn only(&self, at: &Ident, matches: impl Fn(&ScopeColumn) -> bool) -> Result<Option<usize>> {
        let mut found = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, c)| matches(c))
            .map(|(i, _)| i);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(SqlError::new(
                format!("the column '{}' is ambiguous", at.value),
                at.span,
            )
            .with_hint("put the table's name or alias before it")),
            (first, _) => Ok(first),
        }
    }

    pub fn resolve(&self, name: &Ident) -> Result<Expr> {
        check_name(name)?;
        match self.by_name(name)? {
            Some(index) => Ok(self.column(index)),
            None => Err(self.unknown(name)),
        }
    }

    /// `a.b.c`: a column of a relation or a column, and then fields of rows.
    pub fn resolve_path(&self, parts: &[Ident]) -> Result<Expr> {
        parts.iter().try_for_each(check_name)?;
        let (mut expr, rest) = self.root(parts)?;
        for field in rest {
            expr = super::expr::field(expr, field)?;
        }
        Ok(expr)
    }

    fn root<'p>(&self, parts: &'p [Ident]) -> Result<(Expr, &'p [Ident])> {
        // As in Calcite, a relation's name comes before a column's.
        for qualifiers in (1..parts.len().min(4)).rev() {
            let (relation, rest) = parts.split_at(qualifiers);
            let Some((name, fields)) = rest.split_first() else {
                continue;
            };
            if !self.columns.iter().any(|c| is_called(c, relation)) {
                continue;
            }
            return match self.only(name, |c| c.name == name.value && is_called(c, relation))? {
                Some(index) => Ok((self.column(index), fields)),
                None => match self.by_name(&parts[0])? {
                    // A column that is called as its relation, and a field of it.
                    Some(index) => Ok((self.column(index), &parts[1..])),
                    None => Err(self.unknown_in(name, |c| is_called(c, relation))),
                },
            };
        }
        let Some((first, fields)) = parts.split_first() else {
            return Err(SqlError::from(millrace_core::Error::internal(
                "a column without a name",
            )));
        };
        match self.by_name(first)? {
            Some(index) => Ok((self.column(index), fields)),
            None if parts.len() > 1 => {
                let at = join(first.span, parts[parts.len() - 1].span);
                let error = SqlError::new(
                    format!("there is no table, alias or column '{}' here", first.value),
                    at,
                );
                let relations = self
                    .columns
                    .iter()
                    .filter_map(|c| c.relation.last())
                    .map(String::as_str);
                let names = relations.chain(self.columns.iter().map(|c| c.name.as_str()));
                Err(match nearest(&first.value, names) {
                    Some(known) => error.with_hint(format!("did you mean '{known}'?")),
                    None => error,
                })
            }
            None => Err(self.unknown(first)),
        }
    }

    fn unknown(&self, name: &Ident) -> SqlError {
        self.unknown_in(name, |_| true)
    }

    fn unknown_in(&self, name: &Ident, within: impl Fn(&ScopeColumn) -> bool) -> SqlError {
        let names: Vec<&str> = self
            .columns
            .iter()
            .filter(|c| within(c))
            .map(|c| c.name.as_str())
            .collect();
        let error = SqlError::new(format!("there is no column '{}'", name.value), name.span);
        match nearest(&name.value, names.iter().copied()) {
            Some(known) if known.eq_ignore_ascii_case(&name.value) => {
                error.with_hint(format!("did you mean '{known}'? names are case-sensitive"))
            }
            Some(known) => error.with_hint(format!("did you mean '{known}'?")),
            None if names.is_empty() => error.with_hint("there are no columns here"),
            None => error.with_hint(format!("there are: {}", names.join(", "))),
        }
    }

    /// The columns of a relation, for `t.*`.
    pub fn of_relation(&self, parts: &[String]) -> Vec<usize> {
        let called = |c: &ScopeColumn| !parts.is_empty() && c.relation.ends_with(parts);
        self.columns
            .iter()
            .enumerate()
            .filter(|(_, c)| called(c))
            .map(|(i, _)| i)
            .collect()
    }
}

/// Refuses a text where a name must stand: sqlparser takes both.
pub(super) fn check_name(name: &Ident) -> Result<()> {
    match name.quote_style {
        None | Some('`') => Ok(()),
        Some(_) => Err(SqlError::new(
            format!("expected a name, found the text '{}'", name.value),
            name.span,
        )
        .with_hint("names stand in `backquotes`")),
    }
}

fn is_called(column: &ScopeColumn, parts: &[Ident]) -> bool {
    let n = parts.len();
    column.relation.len() >= n
        && column.relation[column.relation.len() - n..]
            .iter()
            .zip(parts)
            .all(|(r, p)| *r == p.value)
}

/// The fields of a row type.
pub(super) fn row_fields(data_type: &DataType) -> Option<&[Field]> {
    match &data_type.kind {
        TypeKind::Row(fields) => Some(fields),
        _ => None,
    }
}
