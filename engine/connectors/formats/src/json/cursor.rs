//! A place in one record's text, and the reading of JSON's tokens from there.

use super::fault::Fault;

/// Objects and arrays within one another at most, as Jackson's `StreamReadConstraints` has it.
pub const MAX_DEPTH: usize = 1000;

type Result<T> = std::result::Result<T, Fault>;

/// `text` may go on behind the record; nothing from `end` on is ever taken as part of it.
pub struct Cursor<'a> {
    text: &'a [u8],
    start: usize,
    end: usize,
    pub at: usize,
}

/// The inside of a string: its bytes, and whether there are escapes in them.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    pub bytes: &'a [u8],
    pub escaped: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Number<'a> {
    pub text: &'a [u8],
    /// Without fraction and exponent.
    pub whole: bool,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks bytes of `word` that equal `byte`; above the first mark others may be wrong.
#[inline]
fn matches(word: u64, byte: u8) -> u64 {
    let x = word ^ (ONES * u64::from(byte));
    x.wrapping_sub(ONES) & !x & HIGHS
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8], start: usize, end: usize) -> Self {
        Cursor {
            text,
            start,
            end,
            at: start,
        }
    }

    /// The present byte, or 0 at the end: no token begins with that.
    #[inline]
    pub fn peek(&self) -> u8 {
        if self.at < self.end { self.text[self.at] } else { 0 }
    }

    #[inline]
    pub fn rest(&self) -> (&'a [u8], usize) {
        (&self.text[..self.end], self.at)
    }

    /// Bytes between two places.
    #[inline]
    pub fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        &self.text[from..to]
    }

    /// Byte within the record.
    pub fn position(&self) -> usize {
        self.at - self.start
    }

    /// Passes over the mark that some editors put before UTF-8, as Jackson does.
    pub fn skip_byte_order_mark(&mut self) {
        if self.text[self.at..self.end].starts_with(b"\xef\xbb\xbf") {
            self.at += 3;
        }
    }

    #[inline]
    pub fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    #[cold]
    pub fn unexpected(&self, expected: &str) -> Fault {
        if self.at >= self.end {
            return Fault::malformed(
                self.position(),
                format!("the record ends where {expected} should be"),
            );
        }
        let found = match self.text[self.at] {
            b @ 0x21..=0x7e => format!("'{}'", b as char),
            b => format!("byte 0x{b:02x}"),
        };
        Fault::malformed(self.position(), format!("{found} where {expected} should be"))
    }

    #[cold]
    pub fn wrong_value(&self, at: usize, expected: &str) -> Fault {
        let mut probe = Cursor {
            text: self.text,
            start: self.start,
            end: self.end,
            at,
        };
        let end = if probe.skip_value().is_ok() {
            probe.at
        } else {
            self.end
        };
        let shown = String::from_utf8_lossy(&self.text[at..end.min(at + 80)]).into_owned();
        let more = if end > at + 80 { "..." } else { "" };
        Fault::value(at - self.start, format!("{shown}{more} is not {expected}"))
    }

    /// Reads a string; the opening quote is at hand.
    #[inline]
    pub fn string(&mut self) -> Result<Raw<'a>> {
        let begin = self.at + 1;
        let mut at = begin;
        // Eight bytes at a time while there are eight.
        while let Some(chunk) = self.text[..self.end].get(at..).and_then(|r| r.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*chunk);
            let hit = matches(word, b'"') | matches(word, b'\\');
            if hit != 0 {
                at += hit.trailing_zeros() as usize / 8;
                if self.text[at] == b'"' {
                    self.at = at + 1;
                    return Ok(Raw {
                        bytes: &self.text[begin..at],
                        escaped: false,
                    });
                }
                return self.string_tail(begin, at, true);
            }
            at += 8;
        }
        self.string_tail(begin, at, false)
    }

    fn string_tail(&mut self, begin: usize, mut at: usize, mut escaped: bool) -> Result<Raw<'a>> {
        while at < self.end {
            match self.text[at] {
                b'"' => {
                    self.at = at + 1;
                    return Ok(Raw {
                        bytes: &self.text[begin..at],
                        escaped,
                    });
                }
                b'\\' => {
                    escaped = true;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        self.at = self.end;
        Err(self.unexpected("the end of a string"))
    }

    /// Reads a number in JSON's grammar.
    #[inline]
    pub fn number(&mut self) -> Result<Number<'a>> {
        let begin = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.unexpected("a digit")),
        }
        let mut whole = true;
        if self.peek() == b'.' {
            whole = false;
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits()?;
        }
        self.end_of_token()?;
        Ok(Number {
            text: &self.text[begin..self.at],
            whole,
        })
    }

    #[inline]
    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<()> {
        if !self.peek().is_ascii_digit() {
            return Err(self.unexpected("a digit"));
        }
        self.digits();
        Ok(())
    }

    /// Behind a number or a word comes white space, a comma, a bracket or the end.
    #[inline]
    pub fn end_of_token(&self) -> Result<()> {
        if self.at >= self.end
            || matches!(
                self.text[self.at],
                b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'
            )
        {
            return Ok(());
        }
        Err(self.unexpected("the end of a value"))
    }

    /// Reads a whole number of up to 18 digits; `None`, with nothing read, for everything else.
    #[inline]
    pub fn small_integer(&mut self) -> Option<i64> {
        let text = &self.text[..self.end];
        let mut at = self.at;
        let negative = text.get(at) == Some(&b'-');
        at += usize::from(negative);
        let first = at;
        let mut value = 0i64;
        while let Some(d) = text.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
            if at - first == 18 {
                return None;
            }
            value = value * 10 + i64::from(d);
            at += 1;
        }
        let leading_zero = at > first + 1 && text[first] == b'0';
        let ended = matches!(
            text.get(at),
            None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
        );
        if at == first || leading_zero || !ended {
            return None;
        }
        self.at = at;
        Some(if negative { -value } else { value })
    }

    /// Reads `word`, whose first letter is at hand.
    pub fn word(&mut self, word: &'static str) -> Result<()> {
        if !self.text[self.at..self.end].starts_with(word.as_bytes()) {
            return Err(self.unexpected(word));
        }
        self.at += word.len();
        self.end_of_token()
    }

    /// Passes over one value of any kind, checking its form.
    pub fn skip_value(&mut self) -> Result<()> {
        // Whether each open bracket is an object's.
        let mut open: Vec<bool> = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                b'"' => {
                    let raw = self.string()?;
                    self.check_escapes(raw)?;
                }
                b'{' | b'[' => {
                    let object = self.peek() == b'{';
                    self.at += 1;
                    if open.len() == MAX_DEPTH {
                        return Err(Fault::malformed(
                            self.position(),
                            "objects and arrays are nested too deeply",
                        ));
                    }
                    open.push(object);
                    self.skip_space();
                    if self.peek() == if object { b'}' } else { b']' } {
                        self.at += 1;
                        open.pop();
                    } else {
                        if object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                _ => return Err(self.unexpected("a value")),
            }
            // A value has ended: what comes next depends on what is open.
            loop {
                let Some(&object) = open.last() else { return Ok(()) };
                self.skip_space();
                match (self.peek(), object) {
                    (b',', _) => {
                        self.at += 1;
                        if object {
                            self.skip_space();
                            self.skip_key()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        open.pop();
                    }
                    (_, true) => return Err(self.unexpected("',' or '}'")),
                    (_, false) => return Err(self.unexpected("',' or ']'")),
                }
            }
        }
    }

    fn skip_key(&mut self) -> Result<()> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a key in quotes"));
        }
        let raw = self.string()?;
        self.check_escapes(raw)?;
        self.colon()
    }

    #[inline]
    pub fn colon(&mut self) -> Result<()> {
        self.skip_space();
        if self.peek() != b':' {
            return Err(self.unexpected("':'"));
        }
        self.at += 1;
        Ok(())
    }

    fn check_escapes(&self, raw: Raw<'_>) -> Result<()> {
        if raw.escaped {
            self.unescape(raw, &mut Vec::new())
        } else {
            Ok(())
        }
    }

    /// Appends a string's text with its escapes resolved. Half of a surrogate pair alone becomes
    /// `?`, as in Java's UTF-8.
    pub fn unescape(&self, raw: Raw<'_>, out: &mut Vec<u8>) -> Result<()> {
        if !raw.escaped {
            out.extend_from_slice(raw.bytes);
            return Ok(());
        }
        let bad = |what: &str| {
            Err(Fault::malformed(
                self.position(),
                format!("in the string that ends here: {what}"),
            ))
        };
        let mut rest = raw.bytes;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            out.extend_from_slice(&rest[..at]);
            let Some(&letter) = rest.get(at + 1) else {
                return bad("a backslash without a letter");
            };
            rest = &rest[at + 2..];
            match letter {
                b'"' | b'\\' | b'/' => out.push(letter),
                b'b' => out.push(8),
                b'f' => out.push(12),
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                b'u' => {
                    let Some(unit) = hex4(rest) else {
                        return bad("\\u without four hexadecimal digits");
                    };
                    rest = &rest[4..];
                    let low = match rest {
                        [b'\\', b'u', tail @ ..] if (0xd800..0xdc00).contains(&unit) => {
                            hex4(tail).filter(|l| (0xdc00..0xe000).contains(l))
                        }
                        _ => None,
                    };
                    let code = match low {
                        Some(low) => {
                            rest = &rest[6..];
                            0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                        }
                        None => unit,
                    };
                    let c = char::from_u32(code).unwrap_or('?');
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => return bad("an unknown escape"),
            }
        }
        out.extend_from_slice(rest);
        Ok(())
    }
}

fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.get(..4)?;
    digits
        .iter()
        .try_fold(0u32, |n, &b| Some(n * 16 + (b as char).to_digit(16)?))
}
