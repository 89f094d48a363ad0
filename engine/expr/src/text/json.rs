//! JSON values as Flink's JSON functions see them through Jackson: numbers with a point or an
//! exponent are Java's `BigDecimal`s and keep their digits, text behind the value is not looked at.

use indexmap::IndexMap;

use super::number;

/// How deep arrays and objects may be nested: Jackson's limit.
const MAX_DEPTH: usize = 1000;

#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Boolean(bool),
    /// Without point and exponent, as it is written.
    Integer(String),
    /// As `BigDecimal.toString` writes it.
    Decimal(String),
    String(String),
    Array(Vec<Json>),
    /// In the order of the text; of equal names the last counts.
    Object(IndexMap<String, Json>),
}

impl Json {
    /// The value that a text begins with.
    pub fn parse(text: &str) -> Option<Json> {
        let mut parser = Parser {
            text,
            bytes: text.as_bytes(),
            at: 0,
        };
        let value = parser.value(0)?;
        // A number or a word must end where it ends.
        let ended = !matches!(
            parser.bytes.get(parser.at),
            Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_')
        );
        (ended || matches!(value, Json::String(_) | Json::Array(_) | Json::Object(_))).then_some(value)
    }

    pub fn is_scalar(&self) -> bool {
        !matches!(self, Json::Array(_) | Json::Object(_))
    }

    /// Appends the value without spaces and with names in order.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Boolean(true) => out.extend_from_slice(b"true"),
            Json::Boolean(false) => out.extend_from_slice(b"false"),
            Json::Integer(digits) | Json::Decimal(digits) => out.extend_from_slice(digits.as_bytes()),
            Json::String(text) => write_string(text, out),
            Json::Array(elements) => {
                out.push(b'[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    element.write(out);
                }
                out.push(b']');
            }
            Json::Object(fields) => {
                let mut names: Vec<&String> = fields.keys().collect();
                names.sort_unstable();
                out.push(b'{');
                for (i, name) in names.into_iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_string(name, out);
                    out.push(b':');
                    fields[name].write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// A DOUBLE: by the digits that Java writes it with.
    pub fn double(value: f64) -> Json {
        let mut text = Vec::new();
        number::write_double(value, &mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        match big_decimal(&text) {
            Some(decimal) if value.is_finite() => Json::Decimal(decimal),
            _ => Json::String(text),
        }
    }

    /// A DECIMAL, from its plain digits.
    pub fn decimal(digits: &str) -> Json {
        Json::Decimal(big_decimal(digits).unwrap_or_else(|| digits.to_owned()))
    }
}

/// Appends a text in quotes, as Jackson escapes it.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A number's text as `new BigDecimal(text).toString()` gives it; none if its exponent is too large.
fn big_decimal(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = i64::try_from(fraction.len()).ok()? - i64::from(exponent);
    let digits = match digits.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    };
    let sign = if digits == "0" { "" } else { sign };
    let adjusted = digits.len() as i64 - 1 - scale;
    if scale == 0 {
        return Some(format!("{sign}{digits}"));
    }
    if scale > 0 && adjusted >= -6 {
        let scale = scale as usize;
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        return Some(format!("{sign}{whole}.{fraction}"));
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent = match adjusted {
        0 => String::new(),
        e => format!("E{e:+}"),
    };
    Some(format!("{sign}{first}{point}{rest}{exponent}"))
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn spaces(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.spaces();
        (self.bytes.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.bytes[self.at..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.spaces();
        match self.bytes.get(self.at)? {
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Boolean(true)),
            b'f' => self.word("false", Json::Boolean(false)),
            b'"' => self.string().map(Json::String),
            b'[' => {
                self.at += 1;
                let mut elements = Vec::new();
                if self.take(b']').is_some() {
                    return Some(Json::Array(elements));
                }
                loop {
                    elements.push(self.value(depth + 1)?);
                    if self.take(b',').is_none() {
                        self.take(b']')?;
                        return Some(Json::Array(elements));
                    }
                }
            }
            b'{' => {
                self.at += 1;
                let mut fields = IndexMap::new();
                if self.take(b'}').is_some() {
                    return Some(Json::Object(fields));
                }
                loop {
                    self.spaces();
                    let name = self.string()?;
                    self.take(b':')?;
                    fields.insert(name, self.value(depth + 1)?);
                    if self.take(b',').is_none() {
                        self.take(b'}')?;
                        return Some(Json::Object(fields));
                    }
                }
            }
            _ => self.number(),
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Json> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let first = self.at;
        self.digits()?;
        if self.bytes[first] == b'0' && self.at > first + 1 {
            return None;
        }
        let mut whole = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
            whole = false;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
            whole = false;
        }
        let text = &self.text[start..self.at];
        match (whole, text) {
            (true, "-0") => Some(Json::Integer("0".to_owned())),
            (true, _) => Some(Json::Integer(text.to_owned())),
            (false, _) => big_decimal(text).map(Json::Decimal),
        }
    }

    fn string(&mut self) -> Option<String> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        self.at += 1;
        let mut out = String::new();
        let mut from = self.at;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => {
                    out.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    return Some(out);
                }
                b'\\' => {
                    out.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    out.push(self.escape()?);
                    from = self.at;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex()?;
                if !(0xd800..0xe000).contains(&high) {
                    return char::from_u32(high);
                }
                // Half of a pair alone is no character that a STRING here could hold.
                let pair = self.bytes[self.at..].starts_with(b"\\u");
                if high >= 0xdc00 || !pair {
                    return Some(char::REPLACEMENT_CHARACTER);
                }
                self.at += 2;
                let low = self.hex()?;
                let code = 0x10000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00);
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
        if plain {
            u32::from_str_radix(digits, 16).ok()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_as_java_does() {
        for (text, written) in [
            ("1.50", "1.50"),
            ("1e5", "1E+5"),
            ("-0.0", "0.0"),
            ("0.00000001", "1E-8"),
            ("0.000001", "0.000001"),
            ("100e-3", "0.100"),
            ("1.23456789E8", "123456789"),
            ("1.0E7", "1.0E+7"),
            ("1E400", "1E+400"),
        ] {
            assert_eq!(big_decimal(text).as_deref(), Some(written), "{text}");
        }
        assert_eq!(big_decimal("1e99999999999"), None);
    }

    #[test]
    fn what_is_no_json_gives_nothing() {
        for text in [
            "", "x", "01", "nul", "nullx", "[1", "{a:1}", "{'a':1}", "[1,]", "\"a\nb\"", "1.", "-", "NaN",
        ] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
        let deep = "[".repeat(5000);
        assert_eq!(Json::parse(&deep), None);
        for text in [
            "null",
            " 1 ",
            "{} x",
            "[1] 2",
            "\"a\"b",
            "\"\\ud83d\\ude00\\u00e4\\ud83d\"",
        ] {
            assert!(Json::parse(text).is_some(), "{text}");
        }
    }
}
