//! Declared options of connectors and formats, and a table's values checked against them.

use std::collections::BTreeMap;

use millrace_core::config::OptionValue;
use millrace_core::{Error, Result};

/// One option of a WITH clause. `key` may end in `*` for a whole family (`properties.*`).
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    pub key: &'static str,
    pub required: bool,
    pub default: Option<&'static str>,
    pub description: &'static str,
}

impl OptionSpec {
    pub const fn required(key: &'static str, description: &'static str) -> Self {
        OptionSpec {
            key,
            required: true,
            default: None,
            description,
        }
    }

    pub const fn optional(
        key: &'static str,
        default: Option<&'static str>,
        description: &'static str,
    ) -> Self {
        OptionSpec {
            key,
            required: false,
            default,
            description,
        }
    }

    pub fn covers(&self, key: &str) -> bool {
        match self.key.strip_suffix('*') {
            Some(prefix) => key.len() > prefix.len() && key.starts_with(prefix),
            None => self.key == key,
        }
    }
}

/// A table's options, read with types. Errors name the table, the option and what it takes.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    pub table: &'a str,
    values: &'a BTreeMap<String, String>,
}

impl<'a> Options<'a> {
    pub fn new(table: &'a str, values: &'a BTreeMap<String, String>) -> Self {
        Options { table, values }
    }

    pub fn raw(&self, key: &str) -> Option<&'a str> {
        self.values.get(key).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    pub fn get<T: OptionValue>(&self, key: &str) -> Result<Option<T>> {
        let Some(text) = self.raw(key) else {
            return Ok(None);
        };
        T::parse(text)
            .map(Some)
            .ok_or_else(|| self.wrong(key, T::EXPECTED))
    }

    pub fn get_or<T: OptionValue>(&self, key: &str, default: T) -> Result<T> {
        Ok(self.get(key)?.unwrap_or(default))
    }

    pub fn require<T: OptionValue>(&self, key: &str) -> Result<T> {
        self.get(key)?.ok_or_else(|| {
            Error::user(format!(
                "table '{}' lacks the required option '{key}'",
                self.table
            ))
            .with_hint(format!("add '{key}' = '...' to its WITH clause"))
        })
    }

    /// One of a fixed set of words, compared without regard to case.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.raw(key) else {
            return Ok(None);
        };
        let found = choices
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
        found.map(|(_, value)| Some(*value)).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
            self.wrong(key, &format!("one of {}", names.join(", ")))
        })
    }

    /// The error for an option with a value that cannot be.
    pub fn wrong(&self, key: &str, expected: &str) -> Error {
        Error::user(format!("table '{}' has an option with a wrong value", self.table))
            .with_detail(format!("'{key}' = '{}'", self.raw(key).unwrap_or_default()))
            .with_hint(format!("it takes {expected}"))
    }

    /// Refuses keys that no spec covers and asks for required ones that are missing.
    pub fn check(&self, specs: &[&[OptionSpec]]) -> Result<()> {
        let all = || specs.iter().flat_map(|s| s.iter());
        for spec in all().filter(|s| s.required) {
            self.require::<String>(spec.key)?;
        }
        for (key, _) in self.iter() {
            if !all().any(|s| s.covers(key)) {
                let mut known: Vec<_> = all().map(|s| s.key).collect();
                known.sort_unstable();
                known.dedup();
                return Err(
                    Error::user(format!("table '{}' has an unknown option '{key}'", self.table))
                        .with_hint(format!("known here: {}", known.join(", "))),
                );
            }
        }
        Ok(())
    }
}
