//! An object or an array as the text of a STRING column: what Jackson's `JsonNode.toString` gives.
//!
//! White space goes, strings are escaped anew, numbers with a fraction are written as Java writes
//! the double (or, in tables with a DECIMAL, the decimal) that they are; of equal keys the last wins.

use super::cursor::{Cursor, MAX_DEPTH};
use super::escape;
use super::fault::Fault;
use super::keys::Keys;
use crate::number;

/// Writes the value at hand and passes over it; with `decimals` fractions are decimals.
pub fn write(cursor: &mut Cursor<'_>, out: &mut Vec<u8>, decimals: bool) -> Result<(), Fault> {
    Writer { decimals }.value(cursor, out, 0)
}

struct Writer {
    decimals: bool,
}

impl Writer {
    /// Nested calls stay far below a thread's stack: one frame a level, a thousand levels.
    fn value(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
        if depth == MAX_DEPTH {
            return Err(Fault::malformed(
                cursor.position(),
                "objects and arrays are nested too deeply",
            ));
        }
        cursor.skip_space();
        match cursor.peek() {
            b'{' => self.object(cursor, out, depth),
            b'[' => self.array(cursor, out, depth),
            b'"' => {
                let raw = cursor.string()?;
                if raw.escaped {
                    let mut text = Vec::new();
                    cursor.unescape(raw, &mut text)?;
                    escape::write_nested(out, &text);
                } else {
                    escape::write_nested(out, raw.bytes);
                }
                Ok(())
            }
            b'-' | b'0'..=b'9' => {
                let number = cursor.number()?;
                if number.whole {
                    out.extend_from_slice(if number.text == b"-0" { b"0" } else { number.text });
                } else if self.decimals {
                    if number::write_number_stripped(out, number.text).is_none() {
                        return Err(Fault::value(
                            cursor.position(),
                            "a number's exponent is out of range",
                        ));
                    }
                } else {
                    let v = lexical_core::parse::<f64>(number.text)
                        .map_err(|_| Fault::malformed(cursor.position(), "not a number"))?;
                    if v.is_finite() {
                        number::write_double(out, v);
                    } else {
                        out.extend_from_slice(if v > 0.0 {
                            b"\"Infinity\""
                        } else {
                            b"\"-Infinity\""
                        });
                    }
                }
                Ok(())
            }
            b't' => word(cursor, out, "true"),
            b'f' => word(cursor, out, "false"),
            b'n' => word(cursor, out, "null"),
            _ => Err(cursor.unexpected("a value")),
        }
    }

    fn array(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
        cursor.at += 1;
        out.push(b'[');
        cursor.skip_space();
        if cursor.peek() == b']' {
            cursor.at += 1;
            out.push(b']');
            return Ok(());
        }
        loop {
            self.value(cursor, out, depth + 1)?;
            cursor.skip_space();
            match cursor.peek() {
                b',' => out.push(b','),
                b']' => {
                    cursor.at += 1;
                    out.push(b']');
                    return Ok(());
                }
                _ => return Err(cursor.unexpected("',' or ']'")),
            }
            cursor.at += 1;
        }
    }

    fn object(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
        cursor.at += 1;
        cursor.skip_space();
        if cursor.peek() == b'}' {
            cursor.at += 1;
            out.extend_from_slice(b"{}");
            return Ok(());
        }
        // Keys with their values' text, so that a repeated key can replace its value in place.
        let mut keys = Keys::default();
        let mut texts: Vec<Vec<u8>> = Vec::new();
        loop {
            cursor.skip_space();
            if cursor.peek() != b'"' {
                return Err(cursor.unexpected("a key in quotes"));
            }
            let raw = cursor.string()?;
            let mut key = Vec::new();
            cursor.unescape(raw, &mut key)?;
            cursor.colon()?;
            let mut text = Vec::new();
            self.value(cursor, &mut text, depth + 1)?;
            match keys.find_or_add(key) {
                Some(at) => texts[at] = text,
                None => texts.push(text),
            }
            cursor.skip_space();
            match cursor.peek() {
                b',' => cursor.at += 1,
                b'}' => break,
                _ => return Err(cursor.unexpected("',' or '}'")),
            }
        }
        cursor.at += 1;
        for (i, (key, text)) in keys.names().iter().zip(&texts).enumerate() {
            out.push(if i == 0 { b'{' } else { b',' });
            escape::write_nested(out, key);
            out.push(b':');
            out.extend_from_slice(text);
        }
        out.push(b'}');
        Ok(())
    }
}

fn word(cursor: &mut Cursor<'_>, out: &mut Vec<u8>, word: &'static str) -> Result<(), Fault> {
    cursor.word(word)?;
    out.extend_from_slice(word.as_bytes());
    Ok(())
}
