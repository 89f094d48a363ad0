//! A record cut into its cells, as Jackson's CSV parser does it.

use super::dialect::Dialect;

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
    /// There is no cell if there is nothing but a comment or no byte at all.
    pub fn cut(&mut self, record: &[u8], dialect: &Dialect) -> Result<(), Broken> {
        self.text.clear();
        self.ends.clear();
        if record.is_empty() || (dialect.comments && is_comment(record)) {
            return Ok(());
        }
        let mut at = 0;
        loop {
            at = match dialect.quote {
                Some(quote) if record.get(at) == Some(&quote) => {
                    self.quoted(record, at + 1, quote, dialect)?
                }
                _ => self.bare(record, at, dialect),
            };
            self.ends.push(self.text.len());
            match record.get(at) {
                Some(&b) if b == dialect.delimiter => at += 1,
                _ => return Ok(()),
            }
        }
    }

    /// Copies a cell without quotes and gives the place of what ends it.
    fn bare(&mut self, record: &[u8], mut at: usize, dialect: &Dialect) -> usize {
        while let Some(&b) = record.get(at) {
            if b == dialect.delimiter || b == b'\n' || b == b'\r' {
                break;
            }
            if Some(b) == dialect.escape {
                at += 1;
                match record.get(at) {
                    Some(&next) => self.text.push(unescaped(next)),
                    None => break,
                }
            } else {
                self.text.push(b);
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
        quote: u8,
        dialect: &Dialect,
    ) -> Result<usize, Broken> {
        loop {
            let Some(&b) = record.get(at) else {
                return Err(Broken {
                    at,
                    what: "the closing quote is missing",
                });
            };
            if Some(b) == dialect.escape && b != quote {
                let Some(&next) = record.get(at + 1) else {
                    return Err(Broken {
                        at,
                        what: "the closing quote is missing",
                    });
                };
                self.text.push(unescaped(next));
                at += 2;
            } else if b != quote {
                self.text.push(b);
                at += 1;
            } else if record.get(at + 1) == Some(&quote) {
                self.text.push(quote);
                at += 2;
            } else {
                at += 1;
                break;
            }
        }
        while record
            .get(at)
            .is_some_and(|&b| b == b' ' && b != dialect.delimiter)
        {
            at += 1;
        }
        match record.get(at) {
            None | Some(b'\n' | b'\r') => Ok(at),
            Some(&b) if b == dialect.delimiter => Ok(at),
            Some(_) => Err(Broken {
                at,
                what: "something stands between a closing quote and the next field",
            }),
        }
    }
}

/// The end of the record at the front of `text`: the place of its line feed, `text`'s length at the
/// end of the input, or `None` where more is needed. Line feeds within quotes are part of the record.
pub fn record_end(text: &[u8], dialect: &Dialect, at_end: bool) -> Option<usize> {
    let line = || memchr::memchr(b'\n', text).or(at_end.then_some(text.len()));
    let Some(quote) = dialect.quote else { return line() };
    if memchr::memchr(quote, &text[..line().unwrap_or(text.len())]).is_none() {
        // No quote before the line's end: the usual case.
        return line();
    }
    if dialect.comments && is_comment(text) {
        return line();
    }
    let (mut at, mut cell_begins, mut quoted) = (0, true, false);
    while let Some(&b) = text.get(at) {
        if Some(b) == dialect.escape && b != quote {
            at += 1;
            cell_begins = false;
        } else if quoted {
            if b == quote {
                if text.get(at + 1) == Some(&quote) {
                    at += 1;
                } else {
                    quoted = false;
                }
            }
        } else if b == b'\n' {
            return Some(at);
        } else {
            quoted = cell_begins && b == quote;
            cell_begins = b == dialect.delimiter;
        }
        at += 1;
    }
    at_end.then_some(text.len())
}

fn is_comment(record: &[u8]) -> bool {
    record.iter().find(|b| !matches!(b, b' ' | b'\t')) == Some(&b'#')
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
