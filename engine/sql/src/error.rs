//! SQL errors: what is wrong, the lines of the script with a caret under it, and what to do.

use std::sync::Arc;

use millrace_core::Error;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Span, TokenizerError};

use crate::parser::source::Source;

pub(crate) type Result<T> = std::result::Result<T, SqlError>;

/// An error on its way out; where it stands in the script is added as soon as it is known.
#[derive(Debug)]
pub(crate) struct SqlError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    error: Error,
    at: Option<Span>,
    /// The text that `at` points into, where that is not the script at work (a view's).
    source: Option<Arc<Source>>,
}

impl SqlError {
    pub fn new(message: impl Into<String>, at: Span) -> Self {
        Self::from(Error::user(message)).or_at(at)
    }

    /// Valid in Flink, not built: refused by its name.
    pub fn unsupported(what: impl std::fmt::Display, at: Span) -> Self {
        Self::from(Error::unsupported(what)).or_at(at)
    }

    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        let Inner { error, at, source } = *self.0;
        SqlError(Box::new(Inner {
            error: error.with_hint(hint),
            at,
            source,
        }))
    }

    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        let Inner { error, at, source } = *self.0;
        SqlError(Box::new(Inner {
            error: error.with_detail(detail),
            at,
            source,
        }))
    }

    /// Gives the error a place, unless it has one.
    pub fn or_at(mut self, at: Span) -> Self {
        if self.0.at.is_none() && at != Span::empty() {
            self.0.at = Some(at);
        }
        self
    }

    /// Says which text the place is in, unless that is known.
    pub fn or_in(mut self, source: &Arc<Source>) -> Self {
        if self.0.source.is_none() && self.0.at.is_some() {
            self.0.source = Some(source.clone());
        }
        self
    }

    /// The message with its place behind it, as sqlparser writes its own errors.
    pub fn into_parser_text(self) -> String {
        match self.0.at {
            Some(at) if at != END => {
                format!(
                    "{} at Line: {}, Column: {}",
                    self.0.error.message(),
                    at.start.line,
                    at.start.column
                )
            }
            _ => self.0.error.message().to_owned(),
        }
    }

    /// The error that a person sees.
    pub fn into_error(self, script: &Arc<Source>) -> Error {
        let Inner { error, at, source } = *self.0;
        let Some(at) = at else { return error };
        let snippet = source.as_ref().unwrap_or(script).snippet(at);
        let detail = match error.detail() {
            None => snippet,
            Some(detail) => format!("{detail}\n{snippet}"),
        };
        error.with_detail(detail)
    }
}

impl From<Error> for SqlError {
    fn from(error: Error) -> Self {
        SqlError(Box::new(Inner {
            error,
            at: None,
            source: None,
        }))
    }
}

impl From<ParserError> for SqlError {
    fn from(error: ParserError) -> Self {
        match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => from_text(&text),
            ParserError::RecursionLimitExceeded => Error::user("the statement is nested too deeply")
                .with_hint("put inner queries into views with CREATE TEMPORARY VIEW")
                .into(),
        }
    }
}

impl From<TokenizerError> for SqlError {
    fn from(error: TokenizerError) -> Self {
        let message = lower_first(&error.message);
        SqlError::new(message, Span::new(error.location, error.location))
    }
}

/// The parser's errors are texts that end in their place, unless that is the end of the script.
fn from_text(text: &str) -> SqlError {
    let (message, location) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => {
            let mut numbers = place.split(", Column: ").map(|n| n.trim().parse::<u64>().ok());
            match (numbers.next().flatten(), numbers.next().flatten()) {
                (Some(line), Some(column)) => (message, Some(Location::new(line, column))),
                _ => (text, None),
            }
        }
        None => (text, None),
    };
    let message = match message.strip_prefix("Expected: ") {
        Some(rest) => match rest.rsplit_once(", found: ") {
            Some((expected, "EOF")) => format!("expected {expected}, found the end of the script"),
            Some((expected, found)) => format!("expected {expected}, found '{found}'"),
            None => format!("expected {rest}"),
        },
        None => lower_first(message),
    };
    let error = SqlError::from(Error::user(message));
    match location {
        Some(at) => error.or_at(Span::new(at, at)),
        None => error.or_at(END),
    }
}

/// The place behind the last character.
pub(crate) const END: Span = Span {
    start: Location {
        line: u64::MAX,
        column: u64::MAX,
    },
    end: Location {
        line: u64::MAX,
        column: u64::MAX,
    },
};

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // An acronym or a quoted word keeps its case.
        Some(c) if !chars.as_str().starts_with(|d: char| d.is_uppercase()) => {
            c.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// The name among `known` that is most like `name`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match name.chars().count() {
        0..=3 => 1,
        // Two letters that changed places count twice.
        n => (n / 3).max(2),
    };
    known
        .map(|k| (distance(&name.to_lowercase(), &k.to_lowercase()), k))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_could_be_meant() {
        let known = ["origin", "dest", "dep_time"];
        assert_eq!(nearest("orgin", known.into_iter()), Some("origin"));
        assert_eq!(nearest("DEST", known.into_iter()), Some("dest"));
        assert_eq!(nearest("carrier", known.into_iter()), None);
    }

    #[test]
    fn the_parsers_texts_are_read() {
        let e = SqlError::from(ParserError::ParserError(
            "Expected: ), found: b at Line: 2, Column: 5".into(),
        ));
        assert_eq!(e.0.error.message(), "expected ), found 'b'");
        assert_eq!(e.0.at.map(|s| (s.start.line, s.start.column)), Some((2, 5)));
    }
}
