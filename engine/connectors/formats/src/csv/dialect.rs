//! The options of `csv`, read once.

use millrace_connector_api::Options;
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;

use crate::options::Prefixed;

/// One character with a meaning, in UTF-8. Java's `char`, so none beyond the basic plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    bytes: [u8; 3],
    length: usize,
}

impl Mark {
    const fn ascii(byte: u8) -> Self {
        Mark {
            bytes: [byte, 0, 0],
            length: 1,
        }
    }

    fn of(text: &str) -> Option<Self> {
        let mut chars = text.chars();
        let one = chars.next().filter(|c| c.len_utf16() == 1)?;
        let mut bytes = [0; 3];
        let length = one.encode_utf8(&mut bytes).len();
        chars.next().is_none().then_some(Mark { bytes, length })
    }

    /// Bytes that it takes.
    #[inline]
    pub fn width(self) -> usize {
        self.length
    }

    /// Whether `text` has it at this place.
    #[inline]
    pub fn is_at(self, text: &[u8], at: usize) -> bool {
        text.get(at) == Some(&self.bytes[0])
            && (self.length == 1 || text[at..].starts_with(&self.bytes[..self.length]))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// As Java's `char`.
    pub fn unit(self) -> u16 {
        let text = std::str::from_utf8(self.bytes()).unwrap_or_default();
        text.encode_utf16().next().unwrap_or_default()
    }
}

#[derive(Debug, Clone)]
pub struct Dialect {
    pub delimiter: Mark,
    pub quote: Option<Mark>,
    pub escape: Option<Mark>,
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
            None => Mark::ascii(b','),
            Some(text) => Mark::of(&unescape(text))
                .ok_or_else(|| options.wrong("field-delimiter", "one character of the basic plane"))?,
        };
        let character = |key: &str| match options.raw(key) {
            None => Ok(None),
            Some(text) => Mark::of(text)
                .map(Some)
                .ok_or_else(|| options.wrong(key, "one character of the basic plane")),
        };
        let quote = if no_quotes {
            None
        } else {
            Some(character("quote-character")?.unwrap_or(Mark::ascii(b'"')))
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
            // In files it is always scientific: there Flink does not look at the option.
            scientific_decimals: options.get_or("write-bigdecimal-in-scientific-notation", false)?
                || table.options.get("connector").is_some_and(|c| c == "filesystem"),
        })
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
