//! What the settings of both stores have in common.

use std::time::Duration;

use millrace_core::config::ConfigOption;
use millrace_core::{Configuration, Error, Result};

/// A time that has to be longer than nothing.
pub(crate) fn positive(config: &Configuration, option: &ConfigOption<Duration>) -> Result<Duration> {
    let value = config.get(option)?;
    if value.is_zero() {
        return Err(wrong(option.key, "0 ms", "it takes a time of more than 0 ms"));
    }
    Ok(value)
}

pub(crate) fn wrong(key: &str, value: &str, hint: &str) -> Error {
    Error::user("a configuration value is not allowed")
        .with_detail(format!("{key}: '{value}'"))
        .with_hint(hint.to_owned())
}
