//! A record cut into its cells, as Jackson's CSV parser does it.

use super::dialect::{Dialect, Mark};

/// The cells of one record, escapes and quotes resolved; memory is kept from record to record.
#[derive(Debug, Default)]
pub struct Cells {
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// Why a record cannot be cut.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    /// Byte of the record.
    pub at: usize,
    pub what: &'static str,
}

impl Cells {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, i: usize) -> Option<&[u8]> {
        let end = *self.ends.get(i)?;
        let begin = if i == 0 { 0 } else { self.ends[i - 1] };
        Some(&self.text[begin..end])
    }

    /// Cuts the record at the front of `record`: up to a line feed outside of quotes or the end.
    /// There is no cell if there is nothing but comments or no byte at all.
    pub fn cut(&mut self, record: &[u8], dialect: &Dialect) -> Result<(), Broken> {
        self.text.clear();
        self.ends.clear();
        // The mark that some editors put before UTF-8.
        let mut at = if record.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        at += comments(&record[at..], dialect, true).unwrap_or_default();
        if at == record.len() {
            return Ok(());
        }
        loop {
            at = match dialect.quote {
                Some(quote) if quote.is_at(record, at) => {
                    self.quoted(record, at + quote.width(), quote, dialect)?
                }
                _ => self.bare(record, at, dialect),
            };
            self.ends.push(self.text.len());
            if !dialect.delimiter.is_at(record, at) {
                return Ok(());
            }
            at += dialect.delimiter.width();
        }
    }

    /// Copies a cell without quotes and gives the place of what ends it.
    fn bare(&mut self, record: &[u8], mut at: usize, dialect: &Dialect) -> usize {
        while let Some(&b) = record.get(at) {
            if dialect.delimiter.is_at(record, at) || b == b'\n' || b == b'\r' {
                break;
            }
            match dialect.escape {
                Some(escape) if escape.is_at(record, at) => {
                    at += escape.width();
                    match record.get(at) {
                        Some(&next) => self.text.push(unescaped(next)),
                        None => break,
                    }
                }
                _ => self.text.push(b),
            }
            at += 1;
        }
        at
    }

    /// Copies a cell in quotes, `at` behind the opening one, and gives the place of what ends it.
    fn quoted(
        &mut self,
        record: &[u8],
        mut at: usize,
        quote: Mark,
        dialect: &Dialect,
    ) -> Result<usize, Broken> {
        let unclosed = |at| Broken {
            at,
            what: "the closing quote is missing",
        };
        loop {
            let Some(&b) = record.get(at) else {
                return Err(unclosed(at));
            };
            let escape = dialect.escape.filter(|e| *e != quote && e.is_at(record, at));
            if let Some(escape) = escape {
                at += escape.width();
                let Some(&next) = record.get(at) else {
                    return Err(unclosed(at));
                };
                self.text.push(unescaped(next));
                at += 1;
            } else if !quote.is_at(record, at) {
                self.text.push(b);
                at += 1;
            } else if quote.is_at(record, at + quote.width()) {
                self.text.extend_from_slice(quote.bytes());
                at += 2 * quote.width();
            } else {
                at += quote.width();
                break;
            }
        }
        while record.get(at) == Some(&b' ') && !dialect.delimiter.is_at(record, at) {
            at += 1;
        }
        match record.get(at) {
            None | Some(b'\n' | b'\r') => Ok(at),
            Some(_) if dialect.delimiter.is_at(record, at) => Ok(at),
            Some(_) => Err(Broken {
                at,
                what: "something stands between a closing quote and the next field",
            }),
        }
    }
}

/// Where the record at the front of `text` ends (the place of its line feed or carriage return, or
/// `text`'s length at the end of the input) and where the next begins; `None` where more is needed.
/// What is within quotes or behind an escape is part of the record.
pub fn record_end(text: &[u8], dialect: &Dialect, at_end: bool) -> Option<(usize, usize)> {
    let line = memchr::memchr(b'\n', text);
    let first = &text[..line.unwrap_or(text.len())];
    let has = |mark: Option<Mark>| mark.is_some_and(|m| memchr::memmem::find(first, m.bytes()).is_some());
    if !has(dialect.quote) && !has(dialect.escape) {
        // The usual case.
        return line_end(text, 0, at_end);
    }
    let (mut at, mut cell_begins, mut quoted) = (0, true, false);
    while let Some(&b) = text.get(at) {
        let quote = dialect.quote.filter(|q| q.is_at(text, at));
        let escape = dialect.escape.filter(|e| quote.is_none() && e.is_at(text, at));
        if let Some(escape) = escape {
            // What is behind it has no meaning.
            at += escape.width();
            cell_begins = false;
        } else if let Some(quote) = quote {
            at += quote.width() - 1;
            if !quoted {
                quoted = cell_begins;
                cell_begins = false;
            } else if quote.is_at(text, at + 1) {
                at += quote.width();
            } else {
                quoted = false;
            }
        } else if !quoted {
            if b == b'\n' || b == b'\r' {
                return line_end(text, at, at_end);
            }
            cell_begins = dialect.delimiter.is_at(text, at);
            if cell_begins {
                at += dialect.delimiter.width() - 1;
            }
        }
        at += 1;
    }
    at_end.then_some((text.len(), text.len()))
}

/// The end of the line from `from` on, and where the next begins.
fn line_end(text: &[u8], from: usize, at_end: bool) -> Option<(usize, usize)> {
    let Some(end) = memchr::memchr2(b'\n', b'\r', &text[from..]).map(|at| from + at) else {
        return at_end.then_some((text.len(), text.len()));
    };
    match (text[end], text.get(end + 1)) {
        (b'\r', Some(b'\n')) => Some((end, end + 2)),
        (b'\r', None) if !at_end => None,
        _ => Some((end, end + 1)),
    }
}

/// Bytes of the comments at the front; `None` where more is needed to know.
pub fn comments(text: &[u8], dialect: &Dialect, at_end: bool) -> Option<usize> {
    let mut at = 0;
    if !dialect.comments {
        return Some(at);
    }
    loop {
        let rest = &text[at..];
        match rest.iter().find(|b| !matches!(b, b' ' | b'\t')) {
            Some(b'#') => at += line_end(rest, 0, at_end)?.1,
            None if !at_end => return None,
            _ => return Some(at),
        }
    }
}

fn unescaped(letter: u8) -> u8 {
    match letter {
        b'0' => 0,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}
