//! The options of `csv`, read once.

use millrace_connector_api::Options;
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;

use crate::options::Prefixed;

/// Delimiters are single ASCII characters.
#[derive(Debug, Clone)]
pub struct Dialect {
    pub delimiter: u8,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    pub comments: bool,
    pub ignore_parse_errors: bool,
    pub element_delimiter: Vec<u8>,
    pub null_literal: Option<Vec<u8>>,
    pub scientific_decimals: bool,
}

impl Dialect {
    pub fn new(table: &TableSpec, prefix: &str) -> Result<Self> {
        let options = Prefixed::new(Options::new(&table.name, &table.options), prefix);
        let no_quotes: bool = options.get_or("disable-quote-character", false)?;
        if no_quotes && options.raw("quote-character").is_some() {
            return Err(Error::user(format!(
                "table '{}' has '{prefix}quote-character' and disables quotes by '{prefix}disable-quote-character'",
                table.name
            ))
            .with_hint("leave one of them out"));
        }
        let delimiter = match options.raw("field-delimiter") {
            None => b',',
            Some(text) => single(&unescape(text))
                .ok_or_else(|| options.wrong("field-delimiter", "one ASCII character"))?,
        };
        let character = |key: &str| match options.raw(key) {
            None => Ok(None),
            Some(text) => single(text)
                .map(Some)
                .ok_or_else(|| options.wrong(key, "one ASCII character")),
        };
        let quote = if no_quotes {
            None
        } else {
            Some(character("quote-character")?.unwrap_or(b'"'))
        };
        let elements: String = options.get_or("array-element-delimiter", ";".to_owned())?;
        if elements.is_empty() {
            return Err(options.wrong("array-element-delimiter", "a text of one character or more"));
        }
        Ok(Dialect {
            delimiter,
            quote,
            escape: character("escape-character")?,
            comments: options.get_or("allow-comments", false)?,
            ignore_parse_errors: options.get_or("ignore-parse-errors", false)?,
            element_delimiter: elements.into_bytes(),
            null_literal: options.raw("null-literal").map(|t| t.as_bytes().to_vec()),
            // Flink's documentation calls `true` the default; unless it is set Flink writes plainly.
            scientific_decimals: options.get_or("write-bigdecimal-in-scientific-notation", false)?,
        })
    }
}

fn single(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [b] if b.is_ascii() => Some(*b),
        _ => None,
    }
}

/// Resolves Java's escapes: `\t`, `\n`, `\\`, `\u0001`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                out.push(
                    u32::from_str_radix(&digits, 16)
                        .ok()
                        .and_then(char::from_u32)
                        .unwrap_or('\u{fffd}'),
                );
            }
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}
