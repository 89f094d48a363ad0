//! JSON_QUOTE and JSON_UNQUOTE: a text as a JSON string and back.

use millrace_core::Result;

use arrow::array::ArrayRef;

use super::support::{map_string, strict, string, string_kind, takes};
use crate::Expr;
use crate::function::{Call, Function, Resolution};
use crate::text::json::Json;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager("JSON_QUOTE", "JSON_QUOTE(STRING)", text_type, |call| {
        map_string(call, quote)
    }),
    Function::eager("JSON_UNQUOTE", "JSON_UNQUOTE(STRING)", text_type, unquoted),
];

fn text_type(args: &mut Vec<Expr>) -> Resolution {
    if takes(args, &[string]) {
        strict(string_kind(), args)
    } else {
        Resolution::Mismatch
    }
}

/// Everything beyond ASCII is escaped, by UTF-16 units. As in Flink, a character of two units gives its
/// whole code point, and then its second unit.
fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        let escape = match c {
            '"' | '\\' | '/' => c,
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            c if c.is_ascii() => {
                out.push(c as u8);
                continue;
            }
            c => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
                if let [_, low] = *c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{low:04x}").as_bytes());
                }
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escape as u8]);
    }
    out.push(b'"');
}

fn unquoted(call: &Call<'_>) -> Result<ArrayRef> {
    map_string(call, |text, out| {
        let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        match inner.filter(|_| Json::parse(text).is_some()).and_then(unescaped) {
            Some(plain) => out.extend_from_slice(plain.as_bytes()),
            None => out.extend_from_slice(text.as_bytes()),
        }
    })
}

/// Without its escapes; none if one is not JSON's. Half a character becomes a question mark, as Java
/// writes it in UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next()? {
                c @ ('"' | '\\' | '/') => c,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let rest = chars.as_str();
                    units.push(u16::from_str_radix(rest.get(..4)?, 16).ok()?);
                    chars = rest[4..].chars();
                    continue;
                }
                _ => return None,
            },
            c => c,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    let decoded = char::decode_utf16(units).map(|c| c.unwrap_or('?'));
    Some(decoded.collect())
}
