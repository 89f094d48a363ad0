//! Flink's configuration: flat dotted keys, typed options with defaults.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use crate::{Error, Result, duration, memory};

/// A value that a configuration option can have.
pub trait OptionValue: Sized {
    /// What the value is called in an error: "a duration such as '1 s'".
    const EXPECTED: &'static str;
    fn parse(text: &str) -> Option<Self>;
}

impl OptionValue for String {
    const EXPECTED: &'static str = "a text";
    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl OptionValue for bool {
    const EXPECTED: &'static str = "'true' or 'false'";
    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }
}

macro_rules! integer_value {
    ($($t:ty),*) => {$(
        impl OptionValue for $t {
            const EXPECTED: &'static str = "a whole number";
            fn parse(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }
        }
    )*};
}
integer_value!(i32, i64, u16, u32, u64, usize);

impl OptionValue for f64 {
    const EXPECTED: &'static str = "a number such as '1.5'";
    fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok().filter(|number: &f64| number.is_finite())
    }
}

impl OptionValue for Duration {
    const EXPECTED: &'static str = "a duration such as '500 ms', '1 s' or '10 min'";
    fn parse(text: &str) -> Option<Self> {
        duration::parse(text)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySize(pub u64);

impl OptionValue for MemorySize {
    const EXPECTED: &'static str = "a memory size such as '64mb'";
    fn parse(text: &str) -> Option<Self> {
        memory::parse(text).map(MemorySize)
    }
}

/// One option: its key, the text of its default (none if it must be given to count), its meaning.
#[derive(Debug, Clone, Copy)]
pub struct ConfigOption<T> {
    pub key: &'static str,
    /// Older keys of Flink for the same thing, tried in this order after `key`.
    pub fallback_keys: &'static [&'static str],
    pub default: Option<&'static str>,
    pub description: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> ConfigOption<T> {
    pub const fn new(key: &'static str, default: Option<&'static str>, description: &'static str) -> Self {
        ConfigOption {
            key,
            fallback_keys: &[],
            default,
            description,
            value: PhantomData,
        }
    }

    pub const fn with_fallback(mut self, keys: &'static [&'static str]) -> Self {
        self.fallback_keys = keys;
        self
    }

    /// Its key and the older ones, in the order in which they count.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> + use<T> {
        std::iter::once(self.key).chain(self.fallback_keys.iter().copied())
    }
}

/// Keys and values as they were given, in Flink's flat form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    values: BTreeMap<String, String>,
}

impl Configuration {
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.values.insert(key.into(), value.into());
    }

    pub fn remove(&mut self, key: &str) {
        self.values.remove(key);
    }

    pub fn raw(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// The option's value, its default, or nothing; an error names the key and what it takes.
    pub fn get_optional<T: OptionValue>(&self, option: &ConfigOption<T>) -> Result<Option<T>> {
        match self.given(option) {
            Some((key, text)) => T::parse(text).map(Some).ok_or_else(|| {
                Error::user("a configuration value has the wrong type")
                    .with_detail(format!("{key}: '{text}'"))
                    .with_hint(format!("it takes {}", T::EXPECTED))
            }),
            None => match option.default {
                None => Ok(None),
                Some(text) => T::parse(text).map(Some).ok_or_else(|| {
                    Error::internal(format!("the default of {} does not parse: '{text}'", option.key))
                }),
            },
        }
    }

    /// Whether a value is given, under the option's key or an older one.
    pub fn is_given<T>(&self, option: &ConfigOption<T>) -> bool {
        self.given(option).is_some()
    }

    /// What is given, with its key.
    fn given<T>(&self, option: &ConfigOption<T>) -> Option<(&'static str, &str)> {
        option.keys().find_map(|key| Some((key, self.raw(key)?)))
    }

    /// The value of an option that has a default or must be given.
    pub fn get<T: OptionValue>(&self, option: &ConfigOption<T>) -> Result<T> {
        self.get_optional(option)?.ok_or_else(|| {
            Error::user(format!("the configuration option '{}' is missing", option.key))
                .with_hint(option.description.to_owned())
        })
    }
}

impl FromIterator<(String, String)> for Configuration {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(iter: I) -> Self {
        Configuration {
            values: iter.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: ConfigOption<Duration> =
        ConfigOption::new("a.interval", Some("3 s"), "how often").with_fallback(&["old.interval"]);

    #[test]
    fn default_key_and_older_key() {
        let mut c = Configuration::default();
        assert_eq!(c.get(&INTERVAL).unwrap(), Duration::from_secs(3));
        assert!(!c.is_given(&INTERVAL));
        c.set("old.interval", "1 s");
        assert!(c.is_given(&INTERVAL));
        assert_eq!(c.get(&INTERVAL).unwrap(), Duration::from_secs(1));
        c.set("a.interval", "2 s");
        assert_eq!(c.get(&INTERVAL).unwrap(), Duration::from_secs(2));
    }

    #[test]
    fn a_wrong_value_names_its_key() {
        let mut c = Configuration::default();
        c.set("a.interval", "soon");
        let e = c.get(&INTERVAL).unwrap_err().to_string();
        assert!(e.contains("a.interval: 'soon'"), "{e}");
        assert!(e.contains("a duration"), "{e}");
    }
}
