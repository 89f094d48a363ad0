//! Settings whose value would change what a query means, and that have one value here.

use millrace_core::{Configuration, Error, Result};

/// Keys, the values that are supported, and what a key is about.
const FIXED: &[(&str, &[&str], &str)] = &[
    ("table.sql-dialect", &["default"], "another dialect of SQL"),
    (
        "execution.runtime-mode",
        &["STREAMING"],
        "batch execution: bounded sources end streaming jobs too",
    ),
    (
        "table.exec.sink.type-length-enforcer",
        &["IGNORE"],
        "cutting or checking texts at a sink",
    ),
    (
        "table.exec.sink.nested-constraint-enforcer",
        &["IGNORE"],
        "NOT NULL checks of nested fields",
    ),
    (
        "table.exec.legacy-cast-behaviour",
        &["DISABLED"],
        "the CAST of older versions",
    ),
    (
        "table.exec.sink.keyed-shuffle",
        &["AUTO", "NONE"],
        "spreading rows by key before a sink",
    ),
    (
        "table.exec.sink.rowtime-inserter",
        &["ENABLED", "DISABLED"],
        "another way to write rowtime",
    ),
    (
        "table.optimizer.non-deterministic-update.strategy",
        &["IGNORE"],
        "a search for updates that depend on chance or on the clock",
    ),
    (
        "table.exec.emit.early-fire.enabled",
        &["false"],
        "results of a window before it is over: window table functions have none, in Flink neither",
    ),
    (
        "table.exec.emit.late-fire.enabled",
        &["false"],
        "results of a window again after it is over: window table functions have none, in Flink neither",
    ),
    (
        "table.exec.emit.allow-lateness",
        &["0", "0 ms", "0 s"],
        "windows that are kept after they are over: late rows are dropped and counted",
    ),
    (
        "table.exec.deduplicate.insert-update-after-sensitive-enabled",
        &["true"],
        "first rows of a key that go out as updates",
    ),
    (
        "table.column-expansion-strategy",
        &[""],
        "columns that SELECT * leaves out",
    ),
    (
        "table.optimizer.sql2rel.project-merge.enabled",
        &["true", "false"],
        "merging of projections",
    ),
];

/// Refuses a value that would have to change results.
pub(crate) fn check(key: &str, value: &str) -> Result<()> {
    let Some((_, values, about)) = FIXED.iter().copied().find(|(k, _, _)| *k == key) else {
        return Ok(());
    };
    if values.iter().any(|v| v.eq_ignore_ascii_case(value.trim())) {
        return Ok(());
    }
    Err(Error::unsupported(format!("'{key}' = '{value}'"))
        .with_detail(about.to_owned())
        .with_hint(match values {
            [""] => "leave it out".to_owned(),
            _ => format!("supported: {}", values.join(", ")),
        }))
}

/// The same for what the configuration brought along.
pub(crate) fn check_all(config: &Configuration) -> Result<()> {
    config.iter().try_for_each(|(key, value)| check(key, value))
}
