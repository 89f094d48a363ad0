//! A table or view in FROM: its options with those of hints, checked by its connector.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_connector_api::source::SourceChangelog;
use millrace_core::options::CDC_EVENTS_DUPLICATE;
use millrace_core::{Configuration, Error};
use millrace_dataflow::{MetadataField, TableSpec};
use millrace_expr::{Expr, Field, cast};
use sqlparser::tokenizer::Span;

use super::Binder;
use crate::catalog::{Object, Table, TableColumnKind};
use crate::error::{Result, SqlError, nearest};
use crate::parser::statement::Name;
use crate::plan::{Origin, ReadColumn, ReadTable, Rel};

impl Binder<'_> {
    /// What a name in FROM reads.
    pub(super) fn read(&mut self, name: &Name, depth: usize) -> Result<Rel> {
        let at = name.span();
        let table = match self.catalog.get(name)? {
            Object::Table(table) => table.clone(),
            Object::View(view) => {
                let view = view.clone();
                self.hints_at(last_token(name).start, &[])?;
                return self.view(&view, depth).map_err(|e| e.or_at(at));
            }
        };
        let options = self.options(&table, name)?;
        let read = self
            .read_table(&table, options)
            .map_err(|e| SqlError::from(e).or_at(at))?;
        let columns = (0..read.columns.len()).collect();
        // Equal reads are one, so that later steps can tell by looking.
        let read = match self.tables.iter().find(|t| ***t == read) {
            Some(known) => known.clone(),
            None => {
                let read = Arc::new(read);
                self.tables.push(read.clone());
                read
            }
        };
        Ok(Rel::table(read, columns))
    }

    /// A table's options with those of the hints behind its name.
    pub(super) fn options(&mut self, table: &Table, name: &Name) -> Result<BTreeMap<String, String>> {
        let mut options = table.options.clone();
        for hint in self.hints_at(last_token(name).start, &["OPTIONS"])? {
            for (key, value) in hint.options {
                if key == "connector" {
                    return Err(SqlError::new(
                        "a hint cannot change the connector of a table",
                        hint.span,
                    ));
                }
                options.insert(key, value);
            }
        }
        Ok(options)
    }

    fn read_table(
        &self,
        table: &Table,
        options: BTreeMap<String, String>,
    ) -> millrace_core::Result<ReadTable> {
        let hints = options
            .iter()
            .filter(|(key, value)| table.options.get(*key) != Some(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let spec = spec(table, options);
        let source = self.registry.source(&spec)?;
        // The connector checks its options itself, for it knows which formats' are among them.
        let traits = source.validate(&spec)?;
        let given = source.metadata(&spec)?;
        let mut metadata = Vec::new();
        for field in &spec.metadata {
            let found = find_metadata(&given, field, &spec.name, "reading")?;
            // Checked here, done where the column is read.
            cast::cast(Expr::column(0, found.data_type.clone()), field.data_type.clone()).map_err(|e| {
                Error::user(format!(
                    "the metadata column '{}' cannot have its type",
                    field.column
                ))
                .with_detail(format!(
                    "'{}' gives {}; {}",
                    field.key,
                    found.data_type,
                    e.message()
                ))
            })?;
            metadata.push(found.clone());
        }
        let (mut physical, mut meta) = (0, 0);
        let columns = table
            .columns
            .iter()
            .map(|c| ReadColumn {
                name: c.name.clone(),
                data_type: c.data_type.clone(),
                origin: match &c.kind {
                    TableColumnKind::Physical => {
                        physical += 1;
                        Origin::Physical(physical - 1)
                    }
                    TableColumnKind::Metadata { .. } => {
                        meta += 1;
                        Origin::Metadata(meta - 1)
                    }
                    TableColumnKind::Computed { expr, .. } => Origin::Computed(expr.clone()),
                },
            })
            .collect();
        let normalizes = normalizes(&spec, traits.changelog, self.config)?;
        let watermark = table.watermark.as_ref().map(|w| (w.column, w.expression.clone()));
        Ok(ReadTable {
            spec,
            hints,
            columns,
            watermark,
            metadata,
            traits,
            normalizes,
        })
    }
}

/// Whether a table's rows become a changelog only by their key, which it then has to have.
fn normalizes(
    spec: &TableSpec,
    changelog: SourceChangelog,
    config: &Configuration,
) -> millrace_core::Result<bool> {
    let has_key = !spec.primary_key.is_empty();
    match changelog {
        SourceChangelog::Inserts => Ok(false),
        SourceChangelog::Upsert if has_key => Ok(true),
        SourceChangelog::Upsert => Err(Error::user(format!(
            "table '{}' produces a changelog stream that contains UPDATE_AFTER but no UPDATE_BEFORE, and has no \
             PRIMARY KEY",
            spec.name
        ))
        .with_hint("add PRIMARY KEY (...) NOT ENFORCED to its columns")),
        SourceChangelog::All if !config.get(&CDC_EVENTS_DUPLICATE)? => Ok(false),
        SourceChangelog::All if has_key => Ok(true),
        SourceChangelog::All => Err(Error::user(format!(
            "'{}' is enabled, which requires the changelog sources to define a PRIMARY KEY",
            CDC_EVENTS_DUPLICATE.key
        ))
        .with_detail(format!("table '{}' doesn't have a primary key", spec.name))
        .with_hint("add PRIMARY KEY (...) NOT ENFORCED to its columns, or leave the option out")),
    }
}

/// Where a hint behind a name is kept.
fn last_token(name: &Name) -> Span {
    name.parts.last().map_or(Span::empty(), |p| p.span)
}

/// A table as connectors see it.
pub(super) fn spec(table: &Table, options: BTreeMap<String, String>) -> TableSpec {
    let mut columns = Vec::new();
    let mut metadata = Vec::new();
    for column in &table.columns {
        match &column.kind {
            TableColumnKind::Physical => columns.push(Field::new(&column.name, column.data_type.clone())),
            TableColumnKind::Metadata { key, is_virtual } => metadata.push(MetadataField {
                column: column.name.clone(),
                key: key.clone().unwrap_or_else(|| column.name.clone()),
                data_type: column.data_type.clone(),
                is_virtual: *is_virtual,
            }),
            TableColumnKind::Computed { .. } => {}
        }
    }
    TableSpec {
        name: table.name.clone(),
        options,
        columns,
        metadata,
        primary_key: table.primary_key.clone(),
        partition_keys: table.partition_keys.clone(),
    }
}

/// What the connector gives or takes for a metadata column.
pub(super) fn find_metadata<'f>(
    given: &'f [Field],
    field: &MetadataField,
    table: &str,
    doing: &str,
) -> millrace_core::Result<&'f Field> {
    given.iter().find(|g| g.name == field.key).ok_or_else(|| {
        let keys: Vec<&str> = given.iter().map(|g| g.name.as_str()).collect();
        let error = Error::user(format!(
            "the metadata column '{}' of table '{table}' has a key that its connector does not know for {doing}",
            field.column
        ))
        .with_detail(format!("key '{}'", field.key));
        match (nearest(&field.key, keys.iter().copied()), keys.is_empty()) {
            (Some(known), _) => error.with_hint(format!("did you mean '{known}'?")),
            (None, true) => error.with_hint(format!("the connector has no metadata for {doing}")),
            (None, false) if doing == "writing" => {
                error.with_hint(format!("declare it VIRTUAL to only read it; keys for writing are: {}", keys.join(", ")))
            }
            (None, false) => error.with_hint(format!("keys are: {}", keys.join(", "))),
        }
    })
}
