//! INSERT INTO: a query's columns to a sink's, by position.

use millrace_core::options::{NOT_NULL_ENFORCER, UPSERT_MATERIALIZE};
use millrace_core::{Configuration, Error};
use millrace_dataflow::SinkSpec;
use millrace_expr::{DataType, Expr, Field, RowType, cast};
use sqlparser::ast::Ident;
use sqlparser::tokenizer::Span;

use super::read::{find_metadata, spec};
use super::{Binder, literal};
use crate::catalog::{CATALOG, DATABASE, Object, Table, TableColumnKind};
use crate::error::{Result, SqlError, nearest};
use crate::parser::statement::Insert;
use crate::plan::{InsertPlan, Rel, UpsertMaterialize};

impl Binder<'_> {
    pub fn bind_insert(&mut self, insert: &Insert) -> Result<InsertPlan> {
        let at = insert.table.span();
        let table = match self.catalog.get(&insert.table)? {
            Object::Table(table) => table.clone(),
            Object::View(_) => return Err(SqlError::new("a view cannot be written to", at)),
        };
        let options = self.options(&table, &insert.table)?;
        let mut sink = SinkSpec {
            table: spec(&table, options),
            metadata: Vec::new(),
        };
        let factory = self
            .registry
            .sink(&sink.table)
            .map_err(|e| SqlError::from(e).or_at(at))?;
        let traits = factory
            .validate(&sink.table)
            .map_err(|e| SqlError::from(e).or_at(at))?;
        let writable = factory
            .metadata(&sink.table)
            .map_err(|e| SqlError::from(e).or_at(at))?;
        for field in sink.table.metadata.iter().filter(|m| !m.is_virtual) {
            let found = find_metadata(&writable, field, &table.name, "writing")
                .map_err(|e| SqlError::from(e).or_at(at))?;
            sink.metadata.push(found.clone());
        }

        let query = self.bind_query(&insert.query)?;
        let written = written(&table);
        let targets = targets(insert, &table, &written)?;
        let row = query.output.clone();
        check_schema(&table, &row, &targets, insert.query_span)?;
        let (projection, not_null) = assign(&table, &sink, &written, &row, &targets, insert.query_span)?;
        let names = sink.input().fields.into_iter().map(|f| f.name).collect();
        let query = Rel::calc(query, None, projection, names);
        let drop = drops_nulls(self.config).map_err(SqlError::from)?;
        let words: Vec<&str> = self.source.slice(insert.query_span).split_whitespace().collect();
        let text = words.join(" ");
        Ok(InsertPlan {
            query,
            sink,
            accepts: traits.changelog,
            materialize: materialize(self.config).map_err(SqlError::from)?,
            materializer: None,
            parallelism: traits.parallelism,
            not_null,
            drop,
            text,
        })
    }
}

/// The columns that a row to be written has, by index: physical ones and metadata that is not
/// VIRTUAL, in declared order.
fn written(table: &Table) -> Vec<usize> {
    let is_written = |kind: &TableColumnKind| match kind {
        TableColumnKind::Physical => true,
        TableColumnKind::Metadata { is_virtual, .. } => !is_virtual,
        TableColumnKind::Computed { .. } => false,
    };
    (0..table.columns.len())
        .filter(|&i| is_written(&table.columns[i].kind))
        .collect()
}

/// The columns that the query's columns go to, by index into the table's columns.
fn targets(insert: &Insert, table: &Table, written: &[usize]) -> Result<Vec<usize>> {
    if insert.columns.is_empty() {
        return Ok(written.to_vec());
    }
    let mut targets = Vec::with_capacity(insert.columns.len());
    for column in &insert.columns {
        targets.push(target(column, table, written, &targets)?);
    }
    for &i in written {
        let column = &table.columns[i];
        if !targets.contains(&i) && !column.data_type.nullable {
            let at = insert.columns.first().map_or(insert.query_span, |c| c.span);
            return Err(SqlError::new(
                format!("the column '{}' is NOT NULL and has no value", column.name),
                at,
            )
            .with_hint("name it among the columns of the INSERT, and select a value for it"));
        }
    }
    Ok(targets)
}

fn target(column: &Ident, table: &Table, written: &[usize], before: &[usize]) -> Result<usize> {
    let Some(index) = table.columns.iter().position(|c| c.name == column.value) else {
        let message = format!("the table '{}' has no column '{}'", table.name, column.value);
        let error = SqlError::new(message, column.span);
        let names: Vec<&str> = written.iter().map(|&i| table.columns[i].name.as_str()).collect();
        return Err(match nearest(&column.value, names.iter().copied()) {
            Some(known) => error.with_hint(format!("did you mean '{known}'?")),
            None => error.with_hint(format!("there are: {}", names.join(", "))),
        });
    };
    if !written.contains(&index) {
        return Err(SqlError::new(
            format!("the column '{}' is not written", column.value),
            column.span,
        )
        .with_hint("it is computed, or VIRTUAL metadata"));
    }
    if before.contains(&index) {
        return Err(SqlError::new(
            format!("the column '{}' is named twice", column.value),
            column.span,
        ));
    }
    Ok(index)
}

/// Refuses a query that does not fit, in Flink's words.
fn check_schema(table: &Table, row: &RowType, targets: &[usize], at: Span) -> Result<()> {
    let cause = if row.fields.len() != targets.len() {
        Some("different number of columns".to_owned())
    } else {
        row.fields
            .iter()
            .zip(targets)
            .enumerate()
            .find_map(|(position, (field, &target))| {
                let column = &table.columns[target];
                let value = Expr::column(0, field.data_type.clone());
                cast::implicit(value, column.data_type.clone()).err().map(|_| {
                    format!(
                        "incompatible types for sink column '{}' at position {position}",
                        column.name
                    )
                })
            })
    };
    let Some(cause) = cause else { return Ok(()) };
    let show = |fields: &mut dyn Iterator<Item = (&str, &DataType)>| {
        fields
            .map(|(name, t)| format!("{name}: {t}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let query = show(&mut row.fields.iter().map(|f| (f.name.as_str(), &f.data_type)));
    let columns = targets.iter().map(|&i| &table.columns[i]);
    let sink = show(&mut columns.map(|c| (c.name.as_str(), &c.data_type)));
    let message = format!(
        "column types of query result and sink for '{CATALOG}.{DATABASE}.{}' do not match",
        table.name
    );
    Err(SqlError::new(message, at)
        .with_detail(format!(
            "cause: {cause}\nquery schema: [{query}]\nsink schema:  [{sink}]"
        ))
        .with_hint("columns go by position, not by name; CAST what is of another type"))
}

/// The sink's row over the query's: physical columns, then metadata in the connector's types.
/// Also the columns in which a null must be caught.
fn assign(
    table: &Table,
    sink: &SinkSpec,
    written: &[usize],
    row: &RowType,
    targets: &[usize],
    at: Span,
) -> Result<(Vec<Expr>, Vec<usize>)> {
    let mut physical = Vec::new();
    let mut metadata = Vec::new();
    let mut not_null = Vec::new();
    for &i in written {
        let column = &table.columns[i];
        let value = match targets.iter().position(|&t| t == i) {
            Some(position) => {
                let value = Expr::column(position, row.fields[position].data_type.clone());
                cast::implicit(value, column.data_type.clone()).map_err(|e| SqlError::from(e).or_at(at))?
            }
            None => cast::cast(literal::null(), column.data_type.clone())
                .map_err(|e| SqlError::from(e).or_at(at))?,
        };
        let may_be_null = value.data_type().nullable;
        match &column.kind {
            TableColumnKind::Physical => {
                if may_be_null && !column.data_type.nullable {
                    not_null.push(physical.len());
                }
                physical.push(value);
            }
            _ => {
                let to: &Field = sink.metadata.get(metadata.len()).ok_or_else(|| {
                    SqlError::from(Error::internal("a metadata column without its connector's type"))
                })?;
                // A NOT NULL declared on metadata is kept as one on a column is.
                let caught = may_be_null && (!column.data_type.nullable || !to.data_type.nullable);
                let to = to.data_type.clone().with_nullable(may_be_null);
                let value = cast::cast(value, to).map_err(|e| {
                    SqlError::from(
                        Error::user(format!("the metadata column '{}' cannot be written", column.name))
                            .with_detail(e.message().to_owned()),
                    )
                    .or_at(at)
                })?;
                metadata.push((value, caught));
            }
        }
    }
    for (value, caught) in metadata {
        if caught {
            not_null.push(physical.len());
        }
        physical.push(value);
    }
    Ok((physical, not_null))
}

fn drops_nulls(config: &Configuration) -> millrace_core::Result<bool> {
    let given = config.get(&NOT_NULL_ENFORCER)?;
    match given.to_ascii_uppercase().as_str() {
        "ERROR" => Ok(false),
        "DROP" => Ok(true),
        _ => Err(
            Error::user("a configuration value is none of those that there are")
                .with_detail(format!("{}: '{given}'", NOT_NULL_ENFORCER.key))
                .with_hint("it takes ERROR or DROP"),
        ),
    }
}

fn materialize(config: &Configuration) -> millrace_core::Result<UpsertMaterialize> {
    let given = config.get(&UPSERT_MATERIALIZE)?;
    match given.to_ascii_uppercase().as_str() {
        "NONE" => Ok(UpsertMaterialize::None),
        "AUTO" => Ok(UpsertMaterialize::Auto),
        "FORCE" => Ok(UpsertMaterialize::Force),
        _ => Err(
            Error::user("a configuration value is none of those that there are")
                .with_detail(format!("{}: '{given}'", UPSERT_MATERIALIZE.key))
                .with_hint("it takes NONE, AUTO or FORCE"),
        ),
    }
}
