//! Records in a file of text: where one ends and the next begins.

use millrace_core::Result;
use millrace_dataflow::TableSpec;

use crate::csv::cells;
use crate::csv::dialect::Dialect;

/// Cuts a text into records, by line feeds or by CSV's rules.
#[derive(Debug, Clone)]
pub enum Lines {
    Plain,
    Csv(Dialect),
}

impl Lines {
    /// For files of `format`, its options under `prefix`.
    pub fn of(format: &str, table: &TableSpec, prefix: &str) -> Result<Self> {
        Ok(if format == "csv" {
            Lines::Csv(Dialect::new(table, prefix)?)
        } else {
            Lines::Plain
        })
    }

    /// The record at the front of `text` and where the next begins; `None` where the record goes
    /// on behind `text`. `at_end`: nothing comes behind `text`.
    pub fn next<'a>(&self, text: &'a [u8], at_end: bool) -> Option<(&'a [u8], usize)> {
        match self {
            Lines::Plain => {
                if text.is_empty() {
                    return None;
                }
                let end = memchr::memchr(b'\n', text).or(at_end.then_some(text.len()))?;
                let record = &text[..end];
                let record = record.strip_suffix(b"\r").unwrap_or(record);
                Some((record, (end + 1).min(text.len())))
            }
            Lines::Csv(dialect) => {
                let begin = cells::comments(text, dialect, at_end)?;
                let text = &text[begin..];
                if text.is_empty() {
                    return None;
                }
                let (end, next) = cells::record_end(text, dialect, at_end)?;
                // An empty line is a record of one empty field, and not none.
                let record = if end == 0 { &text[..next] } else { &text[..end] };
                Some((record, begin + next))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(lines: &Lines, text: &str) -> Vec<String> {
        let (mut at, mut records) = (0, Vec::new());
        while let Some((record, next)) = lines.next(&text.as_bytes()[at..], true) {
            records.push(String::from_utf8(record.to_vec()).unwrap());
            at += next;
        }
        records
    }

    #[test]
    fn lines_and_csv_records() {
        assert_eq!(cut(&Lines::Plain, "a\nb\r\n\nc"), ["a", "b", "", "c"]);
        assert_eq!(Lines::Plain.next(b"abc", false), None);
        let table = TableSpec {
            name: "t".to_owned(),
            options: Default::default(),
            columns: Vec::new(),
            metadata: Vec::new(),
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
        };
        let csv = Lines::of("csv", &table, "csv.").unwrap();
        assert_eq!(
            cut(&csv, "a,\"b\nc\"\nd,e\"f\n\"g\"\"\n\",1\n"),
            ["a,\"b\nc\"", "d,e\"f", "\"g\"\"\n\",1"]
        );
        assert_eq!(csv.next(b"a,\"b\nc", false), None);
        assert_eq!(cut(&csv, "a\n\nb\n"), ["a", "\n", "b"]);
        assert_eq!(cut(&csv, "a\rb\r\n\"c\rd\"\r"), ["a", "b", "\"c\rd\""]);
        // Whether a line feed follows is not known yet.
        assert_eq!(csv.next(b"a\r", false), None);
    }
}
