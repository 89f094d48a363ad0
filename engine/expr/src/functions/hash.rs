//! Digests, encodings and URLs.

use std::fmt::Write as _;

use arrow::array::ArrayRef;
use arrow::datatypes as a;
use base64::Engine;
use millrace_core::{Error, Result};
use sha2::Digest;

use super::support::{
    any_nullable, bigint, byte_strings, int, map_string, nullable, strict, string, string_kind, strings,
    takes, try_strings,
};
use crate::function::{Call, Function, Resolution, Volatility};
use crate::text::charset::{self, Charset};
use crate::value::Value;
use crate::{DataType, Expr, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager("MD5", "MD5(STRING)", |args| fixed(args, 32), digest::<md5::Md5>),
    Function::eager(
        "SHA1",
        "SHA1(STRING)",
        |args| fixed(args, 40),
        digest::<sha1::Sha1>,
    ),
    Function::eager(
        "SHA224",
        "SHA224(STRING)",
        |args| fixed(args, 56),
        digest::<sha2::Sha224>,
    ),
    Function::eager(
        "SHA256",
        "SHA256(STRING)",
        |args| fixed(args, 64),
        digest::<sha2::Sha256>,
    ),
    Function::eager(
        "SHA384",
        "SHA384(STRING)",
        |args| fixed(args, 96),
        digest::<sha2::Sha384>,
    ),
    Function::eager(
        "SHA512",
        "SHA512(STRING)",
        |args| fixed(args, 128),
        digest::<sha2::Sha512>,
    ),
    Function::eager(
        "SHA2",
        "SHA2(STRING, 224, 256, 384 or 512)",
        sha2_type,
        sha2_of_length,
    )
    .fallible(),
    Function::eager("TO_BASE64", "TO_BASE64(STRING)", text_type, |c| {
        map_string(c, |text, out| {
            out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(text).as_bytes());
        })
    }),
    Function::eager("FROM_BASE64", "FROM_BASE64(STRING)", text_type, from_base64).fallible(),
    Function::eager("HEX", "HEX(integer), HEX(STRING)", hex_type, hex_of),
    Function::eager("UNHEX", "UNHEX(STRING)", unhex_type, unhex),
    Function::eager("ENCODE", "ENCODE(STRING, charset)", encode_type, encode).fallible(),
    Function::eager("DECODE", "DECODE(BYTES, charset)", decode_type, decode).fallible(),
    Function::eager("URL_ENCODE", "URL_ENCODE(STRING)", url_type, |c| {
        map_string(c, url_encode)
    }),
    Function::eager("URL_DECODE", "URL_DECODE(STRING)", url_type, |c| {
        let texts = c.args[0].strings();
        strings(c.rows, |row, out| {
            texts.get(row).and_then(url_decode).is_some_and(|bytes| {
                out.extend_from_slice(&bytes);
                true
            })
        })
    }),
    Function::eager(
        "PARSE_URL",
        "PARSE_URL(STRING, part [, key])",
        parse_url_type,
        parse_url,
    ),
    Function::eager("UUID", "UUID()", uuid_type, |c| {
        strings(c.rows, |_, out| {
            let mut buffer = uuid::Uuid::encode_buffer();
            out.extend_from_slice(
                uuid::Uuid::new_v4()
                    .hyphenated()
                    .encode_lower(&mut buffer)
                    .as_bytes(),
            );
            true
        })
    })
    .with_volatility(Volatility::Volatile),
];

fn fixed(args: &mut [Expr], length: u32) -> Resolution {
    if !takes(args, &[string]) {
        return Resolution::Mismatch;
    }
    strict(TypeKind::Char(length), args)
}

fn text_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string]) {
        return Resolution::Mismatch;
    }
    strict(string_kind(), args)
}

fn url_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string]) {
        return Resolution::Mismatch;
    }
    nullable(string_kind())
}

fn sha2_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string, int]) {
        return Resolution::Mismatch;
    }
    if let Some(bits) = super::support::literal_integer(&args[1])
        && ![224, 256, 384, 512].contains(&bits)
    {
        return Resolution::Refused(sha2_error(bits));
    }
    strict(TypeKind::Varchar(128), args)
}

fn sha2_error(bits: i64) -> Error {
    Error::user(format!(
        "SHA2 takes a length of 224, 256, 384 or 512 bits, not {bits}"
    ))
}

fn hex_type(args: &mut Vec<Expr>) -> Resolution {
    if takes(args, &[string]) || takes(args, &[bigint]) {
        strict(string_kind(), args)
    } else {
        Resolution::Mismatch
    }
}

fn unhex_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string]) {
        return Resolution::Mismatch;
    }
    nullable(DataType::bytes().kind)
}

fn encode_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string, string]) {
        return Resolution::Mismatch;
    }
    nullable(DataType::bytes().kind)
}

fn decode_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[super::support::binary, string]) {
        return Resolution::Mismatch;
    }
    nullable(string_kind())
}

fn parse_url_type(args: &mut Vec<Expr>) -> Resolution {
    if matches!(args.len(), 2 | 3) && args.iter_mut().all(string) {
        nullable(string_kind())
    } else {
        Resolution::Mismatch
    }
}

fn uuid_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() {
        let nullable = any_nullable(args);
        Resolution::Type(DataType {
            kind: TypeKind::Char(36),
            nullable,
        })
    } else {
        Resolution::Mismatch
    }
}

fn push_hex(bytes: &[u8], digits: &[u8; 16], out: &mut Vec<u8>) {
    for byte in bytes {
        out.extend_from_slice(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    }
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

fn digest<D: Digest>(call: &Call<'_>) -> Result<ArrayRef> {
    map_string(call, |text, out| {
        push_hex(&D::digest(text.as_bytes()), LOWER, out)
    })
}

fn sha2_of_length(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, lengths) = (call.args[0].strings(), call.args[1].primitives::<a::Int32Type>());
    try_strings(call.rows, |row, out| {
        let (Some(text), Some(bits)) = (texts.get(row), lengths.get(row)) else {
            return Ok(false);
        };
        match bits {
            224 => push_hex(&sha2::Sha224::digest(text), LOWER, out),
            256 => push_hex(&sha2::Sha256::digest(text), LOWER, out),
            384 => push_hex(&sha2::Sha384::digest(text), LOWER, out),
            512 => push_hex(&sha2::Sha512::digest(text), LOWER, out),
            other => return Err(sha2_error(other.into())),
        }
        Ok(true)
    })
}

fn from_base64(call: &Call<'_>) -> Result<ArrayRef> {
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let lenient = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let texts = call.args[0].strings();
    try_strings(call.rows, |row, out| {
        let Some(text) = texts.get(row) else {
            return Ok(false);
        };
        let bytes = lenient.decode(text).map_err(|e| {
            Error::user("FROM_BASE64 met a text that is not base64").with_detail(e.to_string())
        })?;
        out.extend_from_slice(String::from_utf8_lossy(&bytes).as_bytes());
        Ok(true)
    })
}

fn hex_of(call: &Call<'_>) -> Result<ArrayRef> {
    if call.arg_types[0].is_string() {
        return map_string(call, |text, out| push_hex(text.as_bytes(), UPPER, out));
    }
    let values = call.args[0].primitives::<a::Int64Type>();
    strings(call.rows, |row, out| {
        values.get(row).is_some_and(|v| {
            out.extend_from_slice(format!("{v:X}").as_bytes());
            true
        })
    })
}

/// An odd first digit makes a byte of 0, as in Flink; other characters than digits make NULL.
fn unhex(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.args[0].strings();
    byte_strings(call.rows, |row, out| {
        let Some(text) = texts.get(row).map(str::as_bytes) else {
            return false;
        };
        let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
        let (odd, pairs) = text.split_at(text.len() % 2);
        for byte in odd {
            if digit(*byte).is_none() {
                return false;
            }
            out.push(0);
        }
        for pair in pairs.chunks_exact(2) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return false;
            };
            out.push(high << 4 | low);
        }
        true
    })
}

fn charset(name: &str) -> Result<Charset> {
    charset::by_name(name).ok_or_else(|| {
        Error::user(format!("unknown character set {name}"))
            .with_hint("UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE and UTF-16LE are known")
    })
}

fn encode(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, charsets) = (call.args[0].strings(), call.args[1].strings());
    let mut failure = None;
    let array = byte_strings(call.rows, |row, out| {
        let (Some(text), Some(name)) = (texts.get(row), charsets.get(row)) else {
            return false;
        };
        match charset(name) {
            Ok(charset) => charset::write(out, text, charset),
            Err(error) => {
                failure.get_or_insert(error);
                return false;
            }
        }
        true
    })?;
    failure.map_or(Ok(array), Err)
}

fn decode(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, charsets) = (call.args[0].bytes(), call.args[1].strings());
    try_strings(call.rows, |row, out| {
        let (Some(bytes), Some(name)) = (bytes.get(row), charsets.get(row)) else {
            return Ok(false);
        };
        charset::read(out, bytes, charset(name)?);
        Ok(true)
    })
}

/// As `java.net.URLEncoder`: form encoding.
fn url_encode(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => {
                out.push(b'%');
                push_hex(&[byte], UPPER, out);
            }
        }
    }
}

fn url_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            other => out.push(*other),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned().into_bytes())
}

/// The parts of a URL as `java.net.URL` has them; only of protocols that it knows.
struct Url<'a> {
    protocol: &'a str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    reference: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Url<'a>> {
        let text = text.trim();
        let (protocol, rest) = text.split_once(':')?;
        if !["http", "https", "ftp", "file", "jar", "mailto"]
            .contains(&protocol.to_ascii_lowercase().as_str())
        {
            return None;
        }
        let (rest, reference) = match rest.split_once('#') {
            Some((rest, reference)) => (rest, Some(reference)),
            None => (rest, None),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        // A port that is no number makes the URL none.
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if let Some((_, port)) = host_and_port.rsplit_once(':')
            && !host_and_port.ends_with(']')
            && !port.is_empty()
            && port.parse::<u16>().is_err()
        {
            return None;
        }
        Some(Url {
            protocol,
            authority,
            path,
            query,
            reference,
        })
    }

    fn part(&self, name: &str, key: Option<&str>) -> Option<String> {
        let text = match name {
            "PROTOCOL" => self.protocol.to_ascii_lowercase(),
            "HOST" => {
                let host = self
                    .authority
                    .rsplit_once('@')
                    .map_or(self.authority, |(_, host)| host);
                let end = if host.starts_with('[') {
                    host.find(']').map_or(host.len(), |i| i + 1)
                } else {
                    host.find(':').unwrap_or(host.len())
                };
                host[..end].to_owned()
            }
            "PATH" => self.path.to_owned(),
            "QUERY" => match key {
                None => self.query?.to_owned(),
                Some(key) => self
                    .query?
                    .split('&')
                    .find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key))
                    .map(|(_, value)| value.to_owned())?,
            },
            "REF" => self.reference?.to_owned(),
            "FILE" => {
                let mut file = self.path.to_owned();
                if let Some(query) = self.query {
                    // Writing to a string does not fail.
                    let _ = write!(file, "?{query}");
                }
                file
            }
            "AUTHORITY" => self.authority.to_owned(),
            "USERINFO" => self.authority.rsplit_once('@')?.0.to_owned(),
            _ => return None,
        };
        Some(text)
    }
}

fn parse_url(call: &Call<'_>) -> Result<ArrayRef> {
    let (urls, parts) = (call.args[0].strings(), call.args[1].strings());
    let keys = call.args.get(2).map(Value::strings);
    strings(call.rows, |row, out| {
        let (Some(url), Some(part)) = (urls.get(row), parts.get(row)) else {
            return false;
        };
        let key = match &keys {
            None => None,
            Some(keys) => match keys.get(row) {
                Some(key) => Some(key),
                None => return false,
            },
        };
        // A key belongs to the query alone.
        if key.is_some() && part != "QUERY" {
            return false;
        }
        Url::parse(url)
            .and_then(|url| url.part(part, key))
            .is_some_and(|text| {
                out.extend_from_slice(text.as_bytes());
                true
            })
    })
}
