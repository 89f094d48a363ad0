//! CREATE TABLE and CREATE VIEW: the schema is bound, so that a mistake is told where it stands.

use std::sync::Arc;

use millrace_expr::{Field, RowType, TypeKind};

use super::function::known_type;
use super::scope::Scope;
use super::{Binder, expr, like};
use crate::catalog::{
    Catalog, Object, Table, TableColumn, TableColumnKind, TableWatermark, View, object_name,
};
use crate::error::{Result, SqlError};
use crate::parser::source::Source;
use crate::parser::statement::{Column, ColumnKind, CreateTable, CreateView, TableBody, Watermark};

/// Binds a CREATE TABLE, with what LIKE takes from another table.
pub(crate) fn bind_table(create: &CreateTable, catalog: &Catalog, source: &Arc<Source>) -> Result<Table> {
    let name = object_name(&create.name)?.to_owned();
    let own = Declared {
        body: create.body.clone(),
        source: source.clone(),
    };
    let declared = match &create.like {
        None => own.into_parts()?,
        Some(like) => {
            let base = match catalog.get(&like.table)? {
                Object::Table(table) => table.clone(),
                Object::View(_) => {
                    return Err(SqlError::new("LIKE takes a table, not a view", like.table.span()));
                }
            };
            like::merge(&base, own, &like.options)?
        }
    };
    if declared.columns.is_empty() {
        return Err(SqlError::new(
            format!("the table '{name}' has no columns"),
            create.name.span(),
        ));
    }
    bind_parts(name, create.temporary, declared, source)
}

/// The parts of a CREATE TABLE, and the text that its expressions stand in.
pub(super) struct Declared {
    pub body: TableBody,
    pub source: Arc<Source>,
}

/// A table's parts, each with the text that it is written in.
pub(super) struct Parts {
    pub columns: Vec<(Column, Arc<Source>)>,
    pub watermark: Option<(Watermark, Arc<Source>)>,
    pub primary_key: Vec<sqlparser::ast::Ident>,
    pub partitioned_by: Vec<sqlparser::ast::Ident>,
    pub comment: Option<String>,
    pub options: std::collections::BTreeMap<String, String>,
}

impl Declared {
    pub fn into_parts(self) -> Result<Parts> {
        let Declared { body, source } = self;
        let TableBody {
            columns,
            watermarks,
            primary_keys,
            comment,
            partitioned_by,
            options,
        } = body;
        if let Some(second) = watermarks.get(1) {
            return Err(SqlError::new("a table has one watermark at most", second.span));
        }
        if let Some(second) = primary_keys.get(1) {
            return Err(SqlError::new("a table has one PRIMARY KEY at most", second.span));
        }
        Ok(Parts {
            columns: columns.into_iter().map(|c| (c, source.clone())).collect(),
            watermark: watermarks.into_iter().next().map(|w| (w, source.clone())),
            primary_key: primary_keys
                .into_iter()
                .next()
                .map_or_else(Vec::new, |k| k.columns),
            partitioned_by,
            comment,
            options: options.into_iter().map(|(k, v, _)| (k, v)).collect(),
        })
    }
}

fn bind_parts(name: String, temporary: bool, parts: Parts, source: &Arc<Source>) -> Result<Table> {
    for (i, (column, _)) in parts.columns.iter().enumerate() {
        if parts.columns[..i]
            .iter()
            .any(|(c, _)| c.name.value == column.name.value)
        {
            let message = format!("the column '{}' is declared twice", column.name.value);
            return Err(SqlError::new(message, column.name.span));
        }
    }
    // Computed columns see the others in the order of declaration; an index into those is mapped
    // to one into all.
    let mut visible: Vec<(usize, Field)> = Vec::new();
    for (i, (column, _)) in parts.columns.iter().enumerate() {
        let (ColumnKind::Physical(data_type) | ColumnKind::Metadata { data_type, .. }) = &column.kind else {
            continue;
        };
        if !known_type(data_type) {
            return Err(SqlError::new("a column cannot be of type NULL", column.name.span));
        }
        let mut data_type = data_type.clone();
        // What is part of a key is never null.
        data_type.nullable &= !parts.primary_key.iter().any(|k| k.value == column.name.value);
        visible.push((i, Field::new(&column.name.value, data_type)));
    }
    let scope = Scope::of_fields(visible.iter().map(|(_, f)| f));
    let mut columns = Vec::with_capacity(parts.columns.len());
    for (i, (column, written_in)) in parts.columns.iter().enumerate() {
        let declared = || {
            visible
                .iter()
                .find(|(v, _)| *v == i)
                .map(|(_, f)| f.data_type.clone())
        };
        let (kind, data_type) = match &column.kind {
            ColumnKind::Physical(t) => (TableColumnKind::Physical, declared().unwrap_or_else(|| t.clone())),
            ColumnKind::Metadata {
                data_type,
                key,
                is_virtual,
            } => (
                TableColumnKind::Metadata {
                    key: key.clone(),
                    is_virtual: *is_virtual,
                },
                declared().unwrap_or_else(|| data_type.clone()),
            ),
            ColumnKind::Computed(written) => {
                let bound = expr::bind(&written.expr, &scope).map_err(|e| in_other(e, written_in, source))?;
                if !known_type(bound.data_type()) {
                    return Err(
                        SqlError::new("the type of this column is not known", written.span)
                            .with_hint("give it one: CAST(NULL AS INT)"),
                    );
                }
                let expr = bound.map_columns(&|c, t| millrace_expr::Expr::column(visible[c].0, t.clone()));
                let data_type = expr.data_type().clone();
                (
                    TableColumnKind::Computed {
                        expr,
                        written: written.clone(),
                    },
                    data_type,
                )
            }
        };
        columns.push(TableColumn {
            name: column.name.value.clone(),
            data_type,
            kind,
            comment: column.comment.clone(),
        });
    }
    let all: Vec<Field> = columns
        .iter()
        .map(|c| Field::new(&c.name, c.data_type.clone()))
        .collect();
    let watermark = match &parts.watermark {
        None => None,
        Some((w, written_in)) => Some(bind_watermark(w, &all).map_err(|e| in_other(e, written_in, source))?),
    };
    let physical = |what: &str, names: &[sqlparser::ast::Ident]| -> Result<Vec<String>> {
        for (i, name) in names.iter().enumerate() {
            match columns.iter().find(|c| c.name == name.value) {
                Some(c) if matches!(c.kind, TableColumnKind::Physical) => {}
                Some(_) => {
                    return Err(
                        SqlError::new(format!("{what} takes physical columns only"), name.span)
                            .with_hint(format!("'{}' is computed or metadata", name.value)),
                    );
                }
                None => {
                    return Err(Scope::of_fields(all.iter())
                        .resolve(name)
                        .err()
                        .unwrap_or_else(|| {
                            SqlError::new(format!("there is no column '{}'", name.value), name.span)
                        }));
                }
            }
            if names[..i].iter().any(|n| n.value == name.value) {
                return Err(SqlError::new(
                    format!("{what} has '{}' twice", name.value),
                    name.span,
                ));
            }
        }
        Ok(names.iter().map(|n| n.value.clone()).collect())
    };
    Ok(Table {
        primary_key: physical("PRIMARY KEY", &parts.primary_key)?,
        partition_keys: physical("PARTITIONED BY", &parts.partitioned_by)?,
        name,
        temporary,
        columns,
        watermark,
        comment: parts.comment,
        options: parts.options,
        source: source.clone(),
    })
}

/// An error within what LIKE took over is quoted from where it was written.
fn in_other(error: SqlError, written_in: &Arc<Source>, at_work: &Arc<Source>) -> SqlError {
    if Arc::ptr_eq(written_in, at_work) {
        error
    } else {
        error.or_in(written_in)
    }
}

fn bind_watermark(watermark: &Watermark, columns: &[Field]) -> Result<TableWatermark> {
    let scope = Scope::of_fields(columns.iter());
    let [name] = watermark.column.as_slice() else {
        return Err(
            SqlError::unsupported("a watermark for a field of a row", watermark.span)
                .with_hint("declare a computed column of the field"),
        );
    };
    scope.resolve(name)?;
    let column = columns
        .iter()
        .position(|c| c.name == name.value)
        .unwrap_or_default();
    let of = &columns[column].data_type;
    match of.kind {
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) if p <= 3 => {}
        _ => {
            return Err(SqlError::new(
                "a watermark's column must be a TIMESTAMP or TIMESTAMP_LTZ of precision 3 at most",
                name.span,
            )
            .with_hint(format!("'{}' is of type {}", name.value, of.kind)));
        }
    }
    let written = &watermark.expression;
    let expression = expr::bind(&written.expr, &scope)?;
    match (&expression.data_type().kind, &of.kind) {
        (TypeKind::Timestamp(p), TypeKind::Timestamp(_))
        | (TypeKind::TimestampLtz(p), TypeKind::TimestampLtz(_))
            if *p <= 3 => {}
        (found, wanted) => {
            return Err(SqlError::new(
                "a watermark's expression must be of its column's type",
                written.span,
            )
            .with_hint(format!("it is of type {found}, the column of type {wanted}")));
        }
    }
    Ok(TableWatermark {
        column,
        expression,
        written: written.clone(),
    })
}

/// Binds a CREATE VIEW.
pub(crate) fn bind_view(create: &CreateView, binder: &mut Binder, source: &Arc<Source>) -> Result<View> {
    let name = object_name(&create.name)?.to_owned();
    let query = binder.bind_query(&create.query)?;
    let output = query.output.clone();
    let time_attributes = (0..output.fields.len())
        .map(|i| query.time_attribute(i))
        .collect();
    if !create.columns.is_empty() && create.columns.len() != output.fields.len() {
        return Err(SqlError::new(
            format!(
                "{} names for {} columns",
                create.columns.len(),
                output.fields.len()
            ),
            create.name.span(),
        ));
    }
    let mut fields: Vec<Field> = Vec::with_capacity(output.fields.len());
    for (i, field) in output.fields.into_iter().enumerate() {
        let field_name = create.columns.get(i).map_or(field.name, |c| c.value.clone());
        let at = create.columns.get(i).map_or(create.query_span, |c| c.span);
        if fields.iter().any(|f| f.name == field_name) {
            return Err(
                SqlError::new(format!("the view has the column '{field_name}' twice"), at)
                    .with_hint("give one of them another name by AS"),
            );
        }
        if !known_type(&field.data_type) {
            return Err(
                SqlError::new(format!("the type of the column '{field_name}' is not known"), at)
                    .with_hint("give it one: CAST(NULL AS INT)"),
            );
        }
        fields.push(Field::new(field_name, field.data_type));
    }
    Ok(View {
        name,
        temporary: create.temporary,
        row_type: RowType::new(fields),
        time_attributes,
        comment: create.comment.clone(),
        query: create.query.clone(),
        text: source.slice(create.query_span).to_owned(),
        source: source.clone(),
    })
}
