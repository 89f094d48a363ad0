//! A script's text with its hints: what errors quote and what views are read again from.

use std::collections::BTreeMap;
use std::fmt::Write;

use sqlparser::tokenizer::{Location, Span};

/// Where a hint belongs: the start of the token before it, by line and column.
pub(crate) type HintKey = (u64, u64);

/// One `NAME('key' = 'value', ...)` of a `/*+ ... */`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hint {
    pub name: String,
    pub options: Vec<(String, String)>,
    pub span: Span,
}

#[derive(Debug, Default)]
pub(crate) struct Source {
    pub text: String,
    pub hints: BTreeMap<HintKey, Vec<Hint>>,
}

impl Source {
    /// The text between two places.
    pub fn slice(&self, span: Span) -> &str {
        let (start, end) = (self.offset(span.start), self.offset(span.end));
        self.text.get(start..end.max(start)).unwrap_or_default()
    }

    /// Byte offset of a place; lines and columns count from 1, columns in characters.
    fn offset(&self, location: Location) -> usize {
        let mut start = 0;
        for _ in 1..location.line {
            match self.text[start..].find('\n') {
                Some(n) => start += n + 1,
                None => return self.text.len(),
            }
        }
        let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(usize::MAX);
        self.text[start..]
            .char_indices()
            .nth(column)
            .map_or(self.text.len(), |(i, _)| start + i)
    }

    /// The line of a place with its number, and carets below what is meant.
    pub fn snippet(&self, span: Span) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let last = lines.iter().rposition(|l| !l.trim().is_empty()).unwrap_or(0);
        let index = usize::try_from(span.start.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let (index, column, width) = if index >= lines.len() || span.start.line == 0 {
            (
                last,
                lines.get(last).map_or(0, |l| l.trim_end().chars().count()),
                1,
            )
        } else {
            let length = lines[index].chars().count();
            let column = (span.start.column.saturating_sub(1) as usize).min(length);
            let end = if span.end.line == span.start.line {
                (span.end.column.saturating_sub(1) as usize).min(length)
            } else {
                lines[index].trim_end().chars().count()
            };
            // Of a place without an end the whole word is meant.
            let word = || {
                let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
                lines[index].chars().skip(column).take_while(is_word).count()
            };
            let width = if span.start == span.end {
                word()
            } else {
                end.saturating_sub(column)
            };
            (index, column, width.max(1))
        };
        let line = lines.get(index).copied().unwrap_or_default().replace('\t', " ");
        let number = (index + 1).to_string();
        let pad = " ".repeat(number.len());
        let mut out = format!("line {number}, column {}:\n", column + 1);
        let _ = writeln!(out, "{number} | {}", line.trim_end());
        let _ = write!(out, "{pad} | {}{}", " ".repeat(column), "^".repeat(width));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: u64, from: u64, to: u64) -> Span {
        Span::new(Location::new(line, from), Location::new(line, to))
    }

    #[test]
    fn carets_stand_below_the_token() {
        let source = Source {
            text: "SELECT a,\n\tbäd FROM t\n".into(),
            ..Source::default()
        };
        assert_eq!(
            source.snippet(span(2, 2, 5)),
            "line 2, column 2:\n2 |  bäd FROM t\n  |  ^^^"
        );
        assert_eq!(source.slice(span(2, 2, 5)), "bäd");
        assert_eq!(source.slice(span(2, 6, 10)), "FROM");
    }

    #[test]
    fn a_place_behind_the_end_is_the_end() {
        let source = Source {
            text: "SELECT\n\n".into(),
            ..Source::default()
        };
        assert_eq!(
            source.snippet(crate::error::END),
            "line 1, column 7:\n1 | SELECT\n  |       ^"
        );
        assert_eq!(source.slice(crate::error::END), "");
        assert_eq!(
            Source::default().snippet(span(1, 1, 1)),
            "line 1, column 1:\n1 | \n  | ^"
        );
    }
}
