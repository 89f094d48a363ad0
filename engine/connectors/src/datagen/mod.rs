//! The connector `datagen`: rows made up, by Flink's options.
//!
//! Row n of a table is the same in every run that restores the first one: random values come from
//! a seed, the row's number and the column, and the seed is part of the state. So what is read
//! again after a failure is what was read before.
//!
//! Layout: `lanes` which subtask makes which rows, `generator` a column's values, `random` numbers
//! from a seed, `reader` the source itself with its rate.

mod generator;
mod lanes;
mod random;
mod reader;
#[cfg(test)]
mod tests;

use millrace_connector_api::sink::SinkFactory;
use millrace_connector_api::source::{
    SourceChangelog, SourceContext, SourceFactory, SourceReader, SourceTraits,
};
use millrace_connector_api::{Connector, OptionSpec, Options};
use millrace_core::{Error, Result};
use millrace_dataflow::{SourceSpec, TableSpec};
use millrace_expr::Field;

use generator::Generator;

pub struct Datagen;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required("connector", "datagen"),
    OptionSpec::optional("rows-per-second", Some("10000"), "rows of all subtasks together"),
    OptionSpec::optional(
        "number-of-rows",
        None,
        "rows in all; without it and without a sequence there is no end",
    ),
    OptionSpec::optional("scan.parallelism", None, "number of subtasks that make rows"),
    OptionSpec::optional(
        "fields.*",
        None,
        "of column f: fields.f.kind (random, sequence), .min, .max, .max-past, .length, .var-len, .start, .end, .null-rate",
    ),
];

/// What the options come to.
#[derive(Debug)]
struct Plan {
    rows_per_second: u64,
    /// Rows in all, if there is an end.
    total: Option<u64>,
    columns: Vec<Generator>,
    parallelism: Option<usize>,
}

impl Plan {
    fn new(table: &TableSpec) -> Result<Self> {
        let options = Options::new(&table.name, &table.options);
        options.check(&[OPTIONS])?;
        let rows_per_second: u64 = options.get_or("rows-per-second", 10_000)?;
        if rows_per_second == 0 {
            return Err(options.wrong("rows-per-second", "a whole number from 1"));
        }
        let parallelism: Option<usize> = options.get("scan.parallelism")?;
        if parallelism == Some(0) {
            return Err(options.wrong("scan.parallelism", "a whole number from 1"));
        }
        let mut total: Option<u64> = options.get("number-of-rows")?;
        let mut used = Vec::new();
        let mut columns = Vec::new();
        for field in &table.columns {
            let generator = Generator::new(field, &options, &mut used)?;
            // A job ends when the first of its sequences does.
            if let Some(rows) = generator.rows() {
                total = Some(total.map_or(rows, |t| t.min(rows)));
            }
            columns.push(generator);
        }
        if let Some((key, _)) = options
            .iter()
            .find(|(k, _)| k.starts_with("fields.") && !used.iter().any(|u| u == k))
        {
            return Err(Error::user(format!("table '{}' has an unknown option '{key}'", table.name)).with_hint(
                "no column of this name and type takes it; for its type a column takes some of .kind, .min, .max, \
                 .max-past, .length, .var-len, .start, .end and .null-rate",
            ));
        }
        Ok(Plan {
            rows_per_second,
            total,
            columns,
            parallelism,
        })
    }
}

impl Connector for Datagen {
    fn identifier(&self) -> &'static str {
        "datagen"
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn source(&self) -> Option<&dyn SourceFactory> {
        Some(self)
    }

    fn sink(&self) -> Option<&dyn SinkFactory> {
        None
    }
}

impl SourceFactory for Datagen {
    fn metadata(&self, _: &TableSpec) -> Result<Vec<Field>> {
        Ok(Vec::new())
    }

    fn validate(&self, table: &TableSpec) -> Result<SourceTraits> {
        let plan = Plan::new(table)?;
        Ok(SourceTraits {
            idle_timeout: None,
            bounded: plan.total.is_some(),
            parallelism: plan.parallelism,
            changelog: SourceChangelog::Inserts,
        })
    }

    fn check(&self, _: &SourceSpec) -> Result<()> {
        Ok(())
    }

    fn open(&self, spec: &SourceSpec, context: SourceContext) -> Result<Box<dyn SourceReader>> {
        Ok(Box::new(reader::Reader::open(
            spec,
            Plan::new(&spec.table)?,
            context,
        )?))
    }
}
