//! A format's options, read below the prefix under which the table has them.

use millrace_connector_api::Options;
use millrace_core::config::OptionValue;
use millrace_core::{Error, Result};

/// Options under `json.`, `value.json.` and the like.
pub struct Prefixed<'a> {
    options: Options<'a>,
    prefix: &'a str,
}

impl<'a> Prefixed<'a> {
    pub fn new(options: Options<'a>, prefix: &'a str) -> Self {
        Prefixed { options, prefix }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub fn raw(&self, key: &str) -> Option<&'a str> {
        self.options.raw(&self.key(key))
    }

    pub fn get_or<T: OptionValue>(&self, key: &str, default: T) -> Result<T> {
        self.options.get_or(&self.key(key), default)
    }

    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        self.options.choice(&self.key(key), choices)
    }

    pub fn wrong(&self, key: &str, expected: &str) -> Error {
        self.options.wrong(&self.key(key), expected)
    }
}
