//! Formats as `java.util.Formatter` takes them, in `Locale.US`.

use std::borrow::Cow;

use super::digits::Digits;

/// One value to be formatted.
#[derive(Debug, Clone)]
pub enum Argument<'a> {
    Null,
    Boolean(bool),
    /// A value, and the bits of its type: negative numbers are written in hexadecimal within them.
    Integer(i64, u32),
    Float(f32),
    Double(f64),
    /// Anything else, by what it is as text.
    Text(Cow<'a, str>),
}

/// Why there is no text.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// Java refuses the format, or a value in it.
    Java,
    /// A conversion of Java that is not built.
    NotBuilt(char),
    /// A width or precision beyond `WIDEST`.
    TooWide,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Specifier(Specifier),
}

#[derive(Debug, PartialEq, Eq)]
struct Specifier {
    argument: Which,
    flags: Flags,
    width: Option<usize>,
    precision: Option<usize>,
    conversion: char,
    upper: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    None,
    Next,
    Previous,
    /// From 0.
    At(usize),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flags {
    left: bool,
    alternate: bool,
    plus: bool,
    space: bool,
    zero: bool,
    group: bool,
    parentheses: bool,
}

/// The largest width and precision. More would be no text but a way to take all memory.
pub const WIDEST: usize = 1 << 20;

/// A format, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
}

impl Format {
    pub fn parse(text: &str) -> Result<Format, Fault> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            if at > 0 {
                pieces.push(Piece::Text(rest[..at].to_owned()));
            }
            let (specifier, after) = specifier(&rest[at + 1..])?;
            pieces.push(Piece::Specifier(specifier));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Format { pieces })
    }

    pub fn write(&self, arguments: &[Argument<'_>], out: &mut String) -> Result<(), Fault> {
        let mut next = 0;
        let mut previous = None;
        for piece in &self.pieces {
            let specifier = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Specifier(specifier) => specifier,
            };
            let index = match specifier.argument {
                Which::None => {
                    let text = if specifier.conversion == '%' { "%" } else { "\n" };
                    justify(text, specifier, out);
                    continue;
                }
                Which::Previous => previous.ok_or(Fault::Java)?,
                Which::At(index) => index,
                Which::Next => {
                    next += 1;
                    next - 1
                }
            };
            previous = Some(index);
            specifier.write(arguments.get(index).ok_or(Fault::Java)?, out)?;
        }
        Ok(())
    }
}

/// What stands behind a percent sign: `[index$][flags][width][.precision]conversion`.
fn specifier(text: &str) -> Result<(Specifier, &str), Fault> {
    let (number, after) = digits(text);
    let mut rest = text;
    let mut argument = Which::Next;
    if !number.is_empty()
        && let Some(after) = after.strip_prefix('$')
    {
        let index: i32 = number.parse().map_err(|_| Fault::Java)?;
        argument = Which::At(usize::try_from(index - 1).map_err(|_| Fault::Java)?);
        rest = after;
    }
    let mut flags = Flags::default();
    while let Some(c) = rest.chars().next() {
        let flag = match c {
            '-' => &mut flags.left,
            '#' => &mut flags.alternate,
            '+' => &mut flags.plus,
            ' ' => &mut flags.space,
            '0' => &mut flags.zero,
            ',' => &mut flags.group,
            '(' => &mut flags.parentheses,
            '<' => {
                argument = Which::Previous;
                rest = &rest[1..];
                continue;
            }
            _ => break,
        };
        if std::mem::replace(flag, true) {
            return Err(Fault::Java);
        }
        rest = &rest[1..];
    }
    let size = |text: &str| match text.parse::<i32>() {
        Ok(size) if size as usize <= WIDEST => Ok(size as usize),
        Ok(_) => Err(Fault::TooWide),
        Err(_) => Err(Fault::Java),
    };
    let (width, mut rest) = digits(rest);
    let width = Some(width).filter(|w| !w.is_empty()).map(size).transpose()?;
    let mut precision = None;
    if let Some(after) = rest.strip_prefix('.') {
        let (number, after) = digits(after);
        precision = Some(size(number)?);
        rest = after;
    }
    let written = rest.chars().next().ok_or(Fault::Java)?;
    let rest = &rest[written.len_utf8()..];
    if matches!(written, 't' | 'T' | 'h' | 'H' | 'a' | 'A') {
        return Err(Fault::NotBuilt(written));
    }
    let (conversion, upper) = match written {
        'B' | 'S' | 'C' | 'X' | 'E' | 'G' => (written.to_ascii_lowercase(), true),
        'b' | 's' | 'c' | 'd' | 'o' | 'x' | 'e' | 'f' | 'g' | '%' | 'n' => (written, false),
        _ => return Err(Fault::Java),
    };
    if matches!(conversion, '%' | 'n') {
        argument = Which::None;
    }
    let specifier = Specifier {
        argument,
        flags,
        width,
        precision,
        conversion,
        upper,
    };
    if specifier.is_valid() {
        Ok((specifier, rest))
    } else {
        Err(Fault::Java)
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

impl Specifier {
    /// Whether flags, width and precision go with the conversion.
    fn is_valid(&self) -> bool {
        let Flags {
            left,
            alternate,
            plus,
            space,
            zero,
            group,
            parentheses,
        } = self.flags;
        let of_numbers = plus || space || zero || group || parentheses;
        let has_width = self.width.is_some() || !left;
        let number = (self.width.is_some() || !(left || zero)) && !(plus && space) && !(left && zero);
        match self.conversion {
            'b' => has_width && !alternate && !of_numbers,
            's' => has_width && !of_numbers,
            'c' => has_width && self.precision.is_none() && !alternate && !of_numbers,
            'd' => number && self.precision.is_none() && !alternate,
            'o' | 'x' => number && self.precision.is_none() && !group,
            'f' => number,
            'e' => number && !group,
            'g' => number && !alternate,
            '%' => has_width && self.precision.is_none() && !alternate && !of_numbers,
            _ => self.width.is_none() && self.precision.is_none() && self.flags == Flags::default(),
        }
    }

    fn write(&self, argument: &Argument<'_>, out: &mut String) -> Result<(), Fault> {
        let text: Cow<'_, str> = match (self.conversion, argument) {
            // Not by `Formattable`, which no value is.
            ('s', _) if self.flags.alternate => return Err(Fault::Java),
            ('b', Argument::Null) => "false".into(),
            ('b', Argument::Boolean(value)) => if *value { "true" } else { "false" }.into(),
            ('b', _) => "true".into(),
            (_, Argument::Null) => "null".into(),
            ('s', Argument::Boolean(value)) => if *value { "true" } else { "false" }.into(),
            ('s', Argument::Integer(value, _)) => value.to_string().into(),
            ('s', Argument::Float(value)) => written(|out| super::number::write_float(*value, out)).into(),
            ('s', Argument::Double(value)) => written(|out| super::number::write_double(*value, out)).into(),
            ('s', Argument::Text(text)) => text.as_ref().into(),
            ('c', Argument::Integer(value, ..=32)) => character(*value)?.into(),
            ('d', Argument::Integer(value, _)) => {
                let magnitude = value.unsigned_abs().to_string();
                return self.number(&magnitude, *value < 0, "", out);
            }
            ('o' | 'x', Argument::Integer(value, bits)) => return self.radix(*value, *bits, out),
            ('e' | 'f' | 'g', Argument::Float(value)) => return self.double((*value).into(), out),
            ('e' | 'f' | 'g', Argument::Double(value)) => return self.double(*value, out),
            _ => return Err(Fault::Java),
        };
        let text = match self.precision {
            Some(most) if matches!(self.conversion, 's' | 'b') || matches!(argument, Argument::Null) => {
                Cow::Owned(cut(&text, most))
            }
            _ => text,
        };
        if self.upper {
            justify(&text.to_uppercase(), self, out);
        } else {
            justify(&text, self, out);
        }
        Ok(())
    }

    /// A number of decimal digits, perhaps with a point, and what follows it.
    fn number(&self, magnitude: &str, negative: bool, after: &str, out: &mut String) -> Result<(), Fault> {
        let (sign, close) = match (negative, self.flags) {
            (
                true,
                Flags {
                    parentheses: true, ..
                },
            ) => ("(", ")"),
            (true, _) => ("-", ""),
            (false, Flags { plus: true, .. }) => ("+", ""),
            (false, Flags { space: true, .. }) => (" ", ""),
            (false, _) => ("", ""),
        };
        let magnitude = if self.flags.group {
            grouped(magnitude)
        } else {
            magnitude.to_owned()
        };
        let used = sign.len() + magnitude.len() + after.len() + close.len();
        let zeros = match self.width {
            Some(width) if self.flags.zero => "0".repeat(width.saturating_sub(used)),
            _ => String::new(),
        };
        justify(&format!("{sign}{zeros}{magnitude}{after}{close}"), self, out);
        Ok(())
    }

    fn radix(&self, value: i64, bits: u32, out: &mut String) -> Result<(), Fault> {
        let Flags {
            plus,
            space,
            parentheses,
            ..
        } = self.flags;
        if plus || space || parentheses {
            return Err(Fault::Java);
        }
        let value = match bits {
            ..=63 => value as u64 & ((1 << bits) - 1),
            _ => value as u64,
        };
        let (prefix, digits) = match self.conversion {
            'o' => ("0", format!("{value:o}")),
            _ => ("0x", format!("{value:x}")),
        };
        let prefix = if self.flags.alternate { prefix } else { "" };
        let used = prefix.len() + digits.len();
        let zeros = match self.width {
            Some(width) if self.flags.zero => "0".repeat(width.saturating_sub(used)),
            _ => String::new(),
        };
        let text = format!("{prefix}{zeros}{digits}");
        if self.upper {
            justify(&text.to_uppercase(), self, out);
        } else {
            justify(&text, self, out);
        }
        Ok(())
    }

    fn double(&self, value: f64, out: &mut String) -> Result<(), Fault> {
        let negative = value.is_sign_negative() && !value.is_nan();
        if !value.is_finite() {
            let text = if value.is_nan() { "NaN" } else { "Infinity" };
            let text = if self.upper {
                text.to_uppercase()
            } else {
                text.to_owned()
            };
            let bare = Specifier {
                argument: self.argument,
                flags: Flags {
                    zero: false,
                    group: false,
                    ..self.flags
                },
                ..*self
            };
            if value.is_nan() {
                justify(&text, &bare, out);
                return Ok(());
            }
            return bare.number(&text, negative, "", out);
        }
        let places = self.precision.unwrap_or(6);
        let mut number = Digits::of(value);
        let point = |places: usize| {
            if self.flags.alternate && places == 0 {
                "."
            } else {
                ""
            }
        };
        let (magnitude, exponent) = match self.conversion {
            'f' => {
                number.round(number.point.saturating_add(places as i64));
                (number.fixed(places) + point(places), None)
            }
            'e' => {
                number.round(places as i64 + 1);
                let (mantissa, exponent) = number.scientific(places);
                (mantissa + point(places), Some(exponent))
            }
            // Whichever of both fits, with as many digits in all.
            _ => {
                let places = places.max(1);
                number.round(places as i64);
                let first = number.point - 1;
                if value == 0.0 {
                    (number.fixed(places - 1), None)
                } else if first < -4 || first >= places as i64 {
                    let (mantissa, exponent) = number.scientific(places - 1);
                    (mantissa, Some(exponent))
                } else {
                    let places = (places as i64 - number.point).max(0) as usize;
                    (number.fixed(places), None)
                }
            }
        };
        let after = match exponent {
            None => String::new(),
            Some(exponent) => {
                let e = if self.upper { 'E' } else { 'e' };
                let sign = if exponent < 0 { '-' } else { '+' };
                format!("{e}{sign}{:02}", exponent.abs())
            }
        };
        self.number(&magnitude, negative, &after, out)
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut text = Vec::new();
    write(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The character of a code point.
fn character(value: i64) -> Result<String, Fault> {
    match u32::try_from(value).ok().filter(|v| *v <= 0x10_ffff) {
        // A surrogate alone becomes a question mark in UTF-8.
        Some(point) => Ok(char::from_u32(point).unwrap_or('?').to_string()),
        None => Err(Fault::Java),
    }
}

/// The first UTF-16 units of a text; half a character becomes a question mark in UTF-8.
fn cut(text: &str, most: usize) -> String {
    let mut left = most;
    let mut cut = String::new();
    for c in text.chars() {
        match c.len_utf16() {
            units if units <= left => {
                left -= units;
                cut.push(c);
            }
            _ => {
                if left > 0 {
                    cut.push('?');
                }
                break;
            }
        }
    }
    cut
}

/// With commas between the thousands before the point.
fn grouped(magnitude: &str) -> String {
    let end = magnitude.find('.').unwrap_or(magnitude.len());
    let mut text = String::new();
    for (i, c) in magnitude[..end].chars().enumerate() {
        if i > 0 && (end - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text + &magnitude[end..]
}

fn justify(text: &str, specifier: &Specifier, out: &mut String) {
    let missing = specifier
        .width
        .map_or(0, |width| width.saturating_sub(text.encode_utf16().count()));
    let spaces = " ".repeat(missing);
    if specifier.flags.left {
        out.push_str(text);
        out.push_str(&spaces);
    } else {
        out.push_str(&spaces);
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(format: &str, arguments: &[Argument<'_>]) -> Result<String, Fault> {
        let mut out = String::new();
        Format::parse(format)?.write(arguments, &mut out)?;
        Ok(out)
    }

    /// What `String.format(Locale.US, ...)` of JDK 17 gives.
    #[test]
    fn as_java() {
        let double = |value| Argument::Double(value);
        let int = |value| Argument::Integer(value, 32);
        let text = |value| Argument::Text(Cow::Borrowed(value));
        for (pattern, argument, expected) in [
            ("%.0f", double(0.5), "1"),
            ("%.0f", double(2.5), "3"),
            ("%.0f", double(0.05), "0"),
            ("%.1f", double(0.05), "0.1"),
            ("%.2f", double(1.005), "1.01"),
            ("%.3f", double(9.9996), "10.000"),
            ("%f", double(-0.0), "-0.000000"),
            ("%,.2f", double(1234567.891), "1,234,567.89"),
            ("%+,012.1f", double(1234567.0), "+1,234,567.0"),
            ("%0,15.1f", double(1234567.0), "00001,234,567.0"),
            ("%(8.1f", double(-3.25), "   (3.3)"),
            ("%#.0f", double(3.0), "3."),
            ("%08.2f", double(-1.5), "-0001.50"),
            ("%8.2f", double(f64::INFINITY), "Infinity"),
            ("%012f", double(f64::NEG_INFINITY), "   -Infinity"),
            ("%6f", double(f64::NAN), "   NaN"),
            ("%E", double(12345.678), "1.234568E+04"),
            ("%.0e", double(9.5), "1e+01"),
            ("%e", double(0.0), "0.000000e+00"),
            ("%e", double(1e-300), "1.000000e-300"),
            ("%g", double(0.0001), "0.000100000"),
            ("%g", double(0.00001), "1.00000e-05"),
            ("%g", double(999999.5), "1.00000e+06"),
            ("%g", double(0.0), "0.00000"),
            ("%.0g", double(25.0), "3e+01"),
            ("%d", int(-5), "-5"),
            ("%-6d|", int(5), "5     |"),
            ("%06d", int(-5), "-00005"),
            ("%(d", int(-5), "(5)"),
            ("%,d", int(-1234567), "-1,234,567"),
            ("%x", int(-1), "ffffffff"),
            ("%x", Argument::Integer(-1, 8), "ff"),
            ("%#010X", int(255), "0X000000FF"),
            ("%o", Argument::Integer(-1, 64), "1777777777777777777777"),
            ("%c", int(0x1f600), "\u{1f600}"),
            ("%5S|", text("straße"), "STRASSE|"),
            ("%.1s", text("\u{1f600}"), "?"),
            ("%-4s|", text("\u{1f600}"), "\u{1f600}  |"),
            ("%b", int(0), "true"),
            ("%.2b", int(0), "tr"),
            ("%5%|", int(0), "    %|"),
        ] {
            assert_eq!(format(pattern, &[argument]).as_deref(), Ok(expected), "{pattern}");
        }
        for (pattern, fault) in [
            ("%", Fault::Java),
            ("%-d", Fault::Java),
            ("%0d", Fault::Java),
            ("%+ d", Fault::Java),
            ("%--5d", Fault::Java),
            ("%.2d", Fault::Java),
            ("%#d", Fault::Java),
            ("%,x", Fault::Java),
            ("%+x", Fault::Java),
            ("%5n", Fault::Java),
            ("%0$d", Fault::Java),
            ("%<d", Fault::Java),
            ("%2$d", Fault::Java),
            ("%99999999999d", Fault::Java),
            ("%9999999d", Fault::TooWide),
            ("%D", Fault::Java),
            ("%f", Fault::Java),
            ("%h", Fault::NotBuilt('h')),
            ("%tY", Fault::NotBuilt('t')),
        ] {
            assert_eq!(format(pattern, &[int(1)]), Err(fault), "{pattern}");
        }
    }
}
