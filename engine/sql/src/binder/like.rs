//! `LIKE other (INCLUDING ...)`: what a table takes over from another one, by Flink's rules.

use std::sync::Arc;

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Span;

use super::table::{Declared, Parts};
use crate::catalog::{Table, TableColumnKind};
use crate::error::{Result, SqlError};
use crate::parser::source::Source;
use crate::parser::statement::{Column, ColumnKind, Feature, LikeOption, Strategy, Watermark};

/// What is done with each feature of the other table.
struct Strategies {
    constraints: Strategy,
    generated: Strategy,
    metadata: Strategy,
    options: Strategy,
    partitions: Strategy,
    watermarks: Strategy,
}

impl Strategies {
    /// Flink's defaults, ALL before the others whatever the order of writing.
    fn new(given: &[LikeOption]) -> Result<Self> {
        for (i, option) in given.iter().enumerate() {
            if given[..i].iter().any(|o| o.feature == option.feature) {
                return Err(SqlError::new("a feature of LIKE is named twice", option.span));
            }
        }
        let mut s = Strategies {
            constraints: Strategy::Including,
            generated: Strategy::Including,
            metadata: Strategy::Including,
            options: Strategy::Overwriting,
            partitions: Strategy::Including,
            watermarks: Strategy::Including,
        };
        for option in given.iter().filter(|o| o.feature == Feature::All) {
            let all = option.strategy;
            s = Strategies {
                constraints: all,
                generated: all,
                metadata: all,
                options: all,
                partitions: all,
                watermarks: all,
            };
        }
        for option in given {
            match option.feature {
                Feature::All => {}
                Feature::Constraints => s.constraints = option.strategy,
                Feature::Generated => s.generated = option.strategy,
                Feature::Metadata => s.metadata = option.strategy,
                Feature::Options => s.options = option.strategy,
                Feature::Partitions => s.partitions = option.strategy,
                Feature::Watermarks => s.watermarks = option.strategy,
            }
        }
        Ok(s)
    }
}

/// The parts of a table that is like `base`, with those of its own behind them.
pub(super) fn merge(base: &Table, own: Declared, given: &[LikeOption]) -> Result<Parts> {
    let strategies = Strategies::new(given)?;
    let source = own.source.clone();
    let own_keys: Vec<(String, Span)> = own
        .body
        .options
        .iter()
        .map(|(k, _, at)| (k.clone(), *at))
        .collect();
    let mut parts = own.into_parts()?;

    let mut columns: Vec<(Column, Arc<Source>)> = Vec::new();
    for column in &base.columns {
        let (kind, strategy) = match &column.kind {
            TableColumnKind::Physical => (ColumnKind::Physical(column.data_type.clone()), None),
            TableColumnKind::Metadata { key, is_virtual } => (
                ColumnKind::Metadata {
                    data_type: column.data_type.clone(),
                    key: key.clone(),
                    is_virtual: *is_virtual,
                },
                Some(strategies.metadata),
            ),
            TableColumnKind::Computed { written, .. } => {
                (ColumnKind::Computed(written.clone()), Some(strategies.generated))
            }
        };
        if strategy == Some(Strategy::Excluding) {
            continue;
        }
        let own = parts
            .columns
            .iter()
            .position(|(c, _)| c.name.value == column.name);
        if let Some(index) = own {
            let is_own_kind =
                std::mem::discriminant(&parts.columns[index].0.kind) == std::mem::discriminant(&kind);
            if strategy == Some(Strategy::Overwriting) && is_own_kind {
                columns.push(parts.columns.remove(index));
                continue;
            }
            let at = parts.columns[index].0.name.span;
            return Err(SqlError::new(
                format!("'{}' has a column '{}' already", base.name, column.name),
                at,
            )
            .with_hint("OVERWRITING GENERATED or METADATA replaces computed or metadata columns"));
        }
        let name = Ident {
            value: column.name.clone(),
            quote_style: Some('`'),
            span: Span::empty(),
        };
        columns.push((
            Column {
                name,
                kind,
                comment: column.comment.clone(),
            },
            base.source.clone(),
        ));
    }
    columns.append(&mut parts.columns);
    parts.columns = columns;

    if strategies.options != Strategy::Excluding {
        for (key, value) in &base.options {
            if let Some((_, at)) = own_keys.iter().find(|(k, _)| k == key) {
                if strategies.options == Strategy::Including {
                    return Err(SqlError::new(
                        format!("'{}' has the option '{key}' already", base.name),
                        *at,
                    )
                    .with_hint("OVERWRITING OPTIONS, which is the default, replaces it"));
                }
            } else {
                parts.options.insert(key.clone(), value.clone());
            }
        }
    }
    if strategies.constraints != Strategy::Excluding && !base.primary_key.is_empty() {
        if let Some(own) = parts.primary_key.first() {
            return Err(
                SqlError::new(format!("'{}' has a PRIMARY KEY already", base.name), own.span)
                    .with_hint("EXCLUDING CONSTRAINTS leaves it out"),
            );
        }
        parts.primary_key = names(&base.primary_key);
    }
    if strategies.partitions != Strategy::Excluding && !base.partition_keys.is_empty() {
        if let Some(own) = parts.partitioned_by.first() {
            return Err(
                SqlError::new(format!("'{}' is partitioned already", base.name), own.span)
                    .with_hint("EXCLUDING PARTITIONS leaves that out"),
            );
        }
        parts.partitioned_by = names(&base.partition_keys);
    }
    if let (Some(watermark), true) = (&base.watermark, strategies.watermarks != Strategy::Excluding) {
        match (&parts.watermark, strategies.watermarks) {
            (Some((own, _)), Strategy::Including) => {
                return Err(
                    SqlError::new(format!("'{}' has a watermark already", base.name), own.span)
                        .with_hint("OVERWRITING WATERMARKS replaces it"),
                );
            }
            (Some(_), _) => {}
            (None, _) => {
                let name = &base.columns[watermark.column].name;
                let column = names(std::slice::from_ref(name));
                let taken = Watermark {
                    column,
                    expression: watermark.written.clone(),
                    span: watermark.written.span,
                };
                parts.watermark = Some((taken, base.source.clone()));
            }
        }
    }
    // Expressions of the other table are quoted from its own text.
    debug_assert!(
        parts
            .columns
            .iter()
            .all(|(_, s)| Arc::ptr_eq(s, &source) || Arc::ptr_eq(s, &base.source))
    );
    Ok(parts)
}

fn names(names: &[String]) -> Vec<Ident> {
    names
        .iter()
        .map(|n| Ident {
            value: n.clone(),
            quote_style: Some('`'),
            span: Span::empty(),
        })
        .collect()
}
