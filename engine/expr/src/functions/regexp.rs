//! LIKE, SIMILAR TO and regular expressions.
//!
//! Patterns are Java's; they are rewritten for the regex crate, which runs in linear time. What
//! that cannot express (look-around, back references, possessive quantifiers) is refused by name.
//! A pattern that Java refuses too gives FALSE for REGEXP and NULL elsewhere.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::datatypes as a;
use millrace_core::{Error, Result};
use regex::Regex;

use super::support::{
    booleans, int, length, literal_string, nullable, strict, string, string_kind, try_primitives, try_strings,
};
use crate::function::{Call, Function, Resolution};
use crate::value::Value;
use crate::{DataType, Expr, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager(
        "LIKE",
        "STRING LIKE STRING [ESCAPE character]",
        like_type,
        |call| like(call, true),
    )
    .fallible(),
    Function::eager(
        "NOT LIKE",
        "STRING NOT LIKE STRING [ESCAPE character]",
        like_type,
        |call| like(call, false),
    )
    .fallible(),
    Function::eager("SIMILAR TO", "STRING SIMILAR TO STRING", similar_type, |call| {
        similar(call, true)
    })
    .fallible(),
    Function::eager(
        "NOT SIMILAR TO",
        "STRING NOT SIMILAR TO STRING",
        similar_type,
        |call| similar(call, false),
    )
    .fallible(),
    Function::eager("REGEXP", "REGEXP(STRING, pattern)", regexp_type, regexp).fallible(),
    Function::eager(
        "REGEXP_REPLACE",
        "REGEXP_REPLACE(STRING, pattern, STRING)",
        replace_type,
        replace,
    )
    .fallible(),
    Function::eager(
        "REGEXP_EXTRACT",
        "REGEXP_EXTRACT(STRING, pattern [, INT group])",
        extract_type,
        extract,
    )
    .fallible(),
    Function::eager(
        "REGEXP_EXTRACT_ALL",
        "REGEXP_EXTRACT_ALL(STRING, pattern [, INT group])",
        all_type,
        extract_all,
    )
    .fallible(),
    Function::eager(
        "REGEXP_COUNT",
        "REGEXP_COUNT(STRING, pattern)",
        number_type,
        |call| number(call, |regex, text| regex.find_iter(text).count() as i32),
    )
    .fallible(),
    Function::eager(
        "REGEXP_INSTR",
        "REGEXP_INSTR(STRING, pattern)",
        number_type,
        |call| {
            number(call, |regex, text| {
                regex
                    .find(text)
                    .map_or(0, |m| length(&text[..m.start()]) as i32 + 1)
            })
        },
    )
    .fallible(),
    Function::eager(
        "REGEXP_SUBSTR",
        "REGEXP_SUBSTR(STRING, pattern)",
        substr_type,
        substr,
    )
    .fallible(),
];

fn like_type(args: &mut Vec<Expr>) -> Resolution {
    if matches!(args.len(), 2 | 3) && args.iter_mut().all(string) {
        strict(TypeKind::Boolean, args)
    } else {
        Resolution::Mismatch
    }
}

fn similar_type(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 3 {
        return Resolution::Refused(Error::unsupported("SIMILAR TO with ESCAPE"));
    }
    like_type(args)
}

/// Refuses a literal pattern that cannot be expressed before anything runs.
fn checked(args: &mut [Expr], data_type: DataType) -> Resolution {
    match literal_string(&args[1]).map(Compiled::new) {
        Some(Err(error)) => Resolution::Refused(error),
        _ => Resolution::Type(data_type),
    }
}

fn regexp_type(args: &mut Vec<Expr>) -> Resolution {
    if args.len() != 2 || !args.iter_mut().all(string) {
        return Resolution::Mismatch;
    }
    match strict(TypeKind::Boolean, args) {
        Resolution::Type(data_type) => checked(args, data_type),
        other => other,
    }
}

fn replace_type(args: &mut Vec<Expr>) -> Resolution {
    if args.len() != 3 || !args.iter_mut().all(string) {
        return Resolution::Mismatch;
    }
    checked(args, DataType::string())
}

fn grouped(args: &mut [Expr]) -> bool {
    match args {
        [text, pattern] => string(text) && string(pattern),
        [text, pattern, group] => string(text) && string(pattern) && int(group),
        _ => false,
    }
}

fn extract_type(args: &mut Vec<Expr>) -> Resolution {
    if !grouped(args) {
        return Resolution::Mismatch;
    }
    checked(args, DataType::string())
}

fn all_type(args: &mut Vec<Expr>) -> Resolution {
    if !grouped(args) {
        return Resolution::Mismatch;
    }
    checked(
        args,
        DataType::nullable(TypeKind::Array(Box::new(DataType::string()))),
    )
}

fn number_type(args: &mut Vec<Expr>) -> Resolution {
    if args.len() != 2 || !args.iter_mut().all(string) {
        return Resolution::Mismatch;
    }
    checked(args, DataType::int())
}

fn substr_type(args: &mut Vec<Expr>) -> Resolution {
    match number_type(args) {
        Resolution::Type(_) => nullable(string_kind()),
        other => other,
    }
}

/// A pattern made ready, or one that Java would refuse.
#[derive(Clone)]
enum Compiled {
    Regex(Regex),
    Invalid,
}

impl Compiled {
    fn new(pattern: &str) -> Result<Compiled> {
        match Regex::new(&from_java(pattern)) {
            Ok(regex) => Ok(Compiled::Regex(regex)),
            Err(error) => {
                let message = error.to_string();
                let invalid = [
                    "unclosed group",
                    "unopened group",
                    "unclosed character class",
                    "missing expression",
                ];
                if invalid.iter().any(|text| message.contains(text)) {
                    return Ok(Compiled::Invalid);
                }
                Err(Error::unsupported(format!("the regular expression '{pattern}'")).with_detail(message))
            }
        }
    }
}

/// Compiled patterns by their text, for one call over a batch.
struct Patterns {
    compile: fn(&str) -> Result<Compiled>,
    compiled: HashMap<String, Compiled>,
}

impl Patterns {
    fn new(compile: fn(&str) -> Result<Compiled>) -> Self {
        Patterns {
            compile,
            compiled: HashMap::new(),
        }
    }

    fn get(&mut self, pattern: &str) -> Result<Option<&Regex>> {
        // A column of patterns must not fill the memory.
        if self.compiled.len() > 256 {
            self.compiled.clear();
        }
        if !self.compiled.contains_key(pattern) {
            self.compiled.insert(pattern.to_owned(), (self.compile)(pattern)?);
        }
        Ok(match self.compiled.get(pattern) {
            Some(Compiled::Regex(regex)) => Some(regex),
            _ => None,
        })
    }
}

/// Rewrites what Java and the regex crate understand differently: the classes \d, \w and \s are
/// ASCII in Java, and a dot excludes every line terminator.
fn from_java(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let dot_all = pattern.contains("(?s") || pattern.contains("(?is") || pattern.contains("(?ms");
    let mut depth = 0usize;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[a-zA-Z0-9_]"),
                Some('W') => out.push_str("[^a-zA-Z0-9_]"),
                Some('s') => out.push_str("[ \\t\\n\\x0B\\f\\r]"),
                Some('S') => out.push_str("[^ \\t\\n\\x0B\\f\\r]"),
                Some('h') => out.push_str("[ \\t\\xA0\\u1680\\u180e\\u2000-\\u200a\\u202f\\u205f\\u3000]"),
                Some(c @ ('p' | 'P')) if chars.peek() == Some(&'{') => {
                    let name: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    let posix = [
                        "Lower", "Upper", "Alpha", "Digit", "Alnum", "Punct", "Graph", "Print", "Blank",
                        "Cntrl", "XDigit", "Space",
                    ];
                    if posix.contains(&name.as_str()) {
                        let not = if c == 'P' { "^" } else { "" };
                        out.push_str(&format!("[[:{not}{}:]]", name.to_ascii_lowercase()));
                    } else {
                        out.push_str(&format!("\\{c}{{{name}}}"));
                    }
                }
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' => {
                depth += 1;
                out.push(c);
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            ']' => {
                depth = depth.saturating_sub(1);
                out.push(c);
            }
            '.' if depth == 0 && !dot_all => out.push_str("[^\\n\\r\\u{85}\\u{2028}\\u{2029}]"),
            // Two of these are operators of the regex crate only.
            '-' | '~' if depth > 0 && chars.peek() == Some(&c) => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

fn regexp(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.args[0].strings(), call.args[1].strings());
    let mut cache = Patterns::new(Compiled::new);
    let mut failure = None;
    let array = booleans(call.rows, |row| {
        let (text, pattern) = (texts.get(row)?, patterns.get(row)?);
        match cache.get(pattern) {
            Ok(regex) => Some(!pattern.is_empty() && regex.is_some_and(|r| r.is_match(text))),
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        }
    })?;
    failure.map_or(Ok(array), Err)
}

/// The replacement is taken as it is: no groups.
fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns, replacements) = (
        call.args[0].strings(),
        call.args[1].strings(),
        call.args[2].strings(),
    );
    let mut cache = Patterns::new(Compiled::new);
    try_strings(call.rows, |row, out| {
        let (Some(text), Some(pattern), Some(replacement)) =
            (texts.get(row), patterns.get(row), replacements.get(row))
        else {
            return Ok(false);
        };
        let Some(regex) = cache.get(pattern)? else {
            return Ok(false);
        };
        out.extend_from_slice(regex.replace_all(text, regex::NoExpand(replacement)).as_bytes());
        Ok(true)
    })
}

fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.args[0].strings(), call.args[1].strings());
    let groups = call.args.get(2).map(|v| v.primitives::<a::Int32Type>());
    let mut cache = Patterns::new(Compiled::new);
    try_strings(call.rows, |row, out| {
        let group = groups.as_ref().map_or(Some(0), |g| g.get(row));
        let (Some(text), Some(pattern), Some(group)) = (texts.get(row), patterns.get(row), group) else {
            return Ok(false);
        };
        let (Some(regex), Ok(group)) = (cache.get(pattern)?, usize::try_from(group)) else {
            return Ok(false);
        };
        let found = regex.captures(text).and_then(|c| c.get(group));
        if let Some(found) = found {
            out.extend_from_slice(found.as_str().as_bytes());
        }
        Ok(found.is_some())
    })
}

/// Without a group the first one.
fn extract_all(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.args[0].strings(), call.args[1].strings());
    let groups = call.args.get(2).map(|v| v.primitives::<a::Int32Type>());
    let mut cache = Patterns::new(Compiled::new);
    let mut builder = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for row in 0..call.rows {
        let group = groups
            .as_ref()
            .map_or(Some(1), |g| g.get(row))
            .and_then(|g| usize::try_from(g).ok());
        let (Some(text), Some(pattern), Some(group)) = (texts.get(row), patterns.get(row), group) else {
            builder.append(false);
            continue;
        };
        match cache.get(pattern)? {
            Some(regex) if group < regex.captures_len() => {
                for captures in regex.captures_iter(text) {
                    builder
                        .values()
                        .append_option(captures.get(group).map(|m| m.as_str()));
                }
                builder.append(true);
            }
            _ => builder.append(false),
        }
    }
    Ok(std::sync::Arc::new(builder.finish()))
}

fn number(call: &Call<'_>, count: impl Fn(&Regex, &str) -> i32) -> Result<ArrayRef> {
    let (texts, patterns) = (call.args[0].strings(), call.args[1].strings());
    let mut cache = Patterns::new(Compiled::new);
    try_primitives::<a::Int32Type>(call.rows, |row| {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
            return Ok(None);
        };
        Ok(cache.get(pattern)?.map(|regex| count(regex, text)))
    })
}

fn substr(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.args[0].strings(), call.args[1].strings());
    let mut cache = Patterns::new(Compiled::new);
    try_strings(call.rows, |row, out| {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
            return Ok(false);
        };
        let found = cache.get(pattern)?.and_then(|regex| regex.find(text));
        if let Some(found) = found {
            out.extend_from_slice(found.as_str().as_bytes());
        }
        Ok(found.is_some())
    })
}

/// A LIKE pattern taken apart.
enum Like {
    Equal(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Tokens(Vec<Token>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Is(char),
}

impl Like {
    fn new(pattern: &str, escape: Option<char>) -> Result<Like> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                c if Some(c) == escape => match chars.next() {
                    Some(next) if matches!(next, '%' | '_') || Some(next) == escape => Token::Is(next),
                    _ => {
                        return Err(Error::user(format!("the LIKE pattern '{pattern}' is invalid"))
                            .with_detail("the escape character stands before %, _ or itself only"));
                    }
                },
                '%' => {
                    if tokens.last() == Some(&Token::Any) {
                        continue;
                    }
                    Token::Any
                }
                '_' => Token::One,
                c => Token::Is(c),
            });
        }
        let text = |tokens: &[Token]| -> Option<String> {
            tokens
                .iter()
                .map(|t| if let Token::Is(c) = t { Some(*c) } else { None })
                .collect()
        };
        let known = match tokens.as_slice() {
            [Token::Any, middle @ .., Token::Any] => text(middle).map(Like::Contains),
            [Token::Any, rest @ ..] => text(rest).map(Like::Suffix),
            [rest @ .., Token::Any] => text(rest).map(Like::Prefix),
            all => text(all).map(Like::Equal),
        };
        Ok(known.unwrap_or(Like::Tokens(tokens)))
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Like::Equal(pattern) => text == pattern,
            Like::Prefix(pattern) => text.starts_with(pattern.as_str()),
            Like::Suffix(pattern) => text.ends_with(pattern.as_str()),
            Like::Contains(pattern) => memchr::memmem::find(text.as_bytes(), pattern.as_bytes()).is_some(),
            Like::Tokens(tokens) => matches_tokens(tokens, text),
        }
    }
}

/// Goes back to the last % only: what it could take more never helps an earlier one.
fn matches_tokens(tokens: &[Token], text: &str) -> bool {
    let mut at = 0;
    let mut rest = text;
    let mut retry: Option<(usize, &str)> = None;
    loop {
        match tokens.get(at) {
            Some(Token::Any) => {
                at += 1;
                retry = Some((at, rest));
                continue;
            }
            Some(token) => {
                if let Some(c) = rest.chars().next()
                    && (*token == Token::One || *token == Token::Is(c))
                {
                    at += 1;
                    rest = &rest[c.len_utf8()..];
                    continue;
                }
            }
            None if rest.is_empty() => return true,
            None => {}
        }
        let Some((token, from)) = retry else { return false };
        let Some(c) = from.chars().next() else {
            return false;
        };
        let from = &from[c.len_utf8()..];
        retry = Some((token, from));
        at = token;
        rest = from;
    }
}

fn like(call: &Call<'_>, wanted: bool) -> Result<ArrayRef> {
    let (texts, patterns) = (call.args[0].strings(), call.args[1].strings());
    let escapes = call.args.get(2).map(Value::strings);
    let literal = call.args[1].is_scalar();
    let compile = |row: usize| -> Result<Option<Like>> {
        let Some(pattern) = patterns.get(row) else {
            return Ok(None);
        };
        let escape = match &escapes {
            Some(escapes) => {
                let Some(text) = escapes.get(row) else {
                    return Ok(None);
                };
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => Some(c),
                    _ => {
                        return Err(Error::user(format!(
                            "the escape of LIKE is one character, not '{text}'"
                        )));
                    }
                }
            }
            // Flink looks for backslashes unless a literal pattern has no underscore.
            None => (!literal || pattern.contains('_')).then_some('\\'),
        };
        Like::new(pattern, escape).map(Some)
    };
    let constant = literal && call.args.get(2).is_none_or(Value::is_scalar);
    let once = if constant { compile(0)? } else { None };
    let mut failure = None;
    let array = booleans(call.rows, |row| {
        let text = texts.get(row)?;
        if constant {
            return once.as_ref().map(|like| like.matches(text) == wanted);
        }
        match compile(row) {
            Ok(like) => like.map(|like| like.matches(text) == wanted),
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        }
    })?;
    failure.map_or(Ok(array), Err)
}

/// SQL's regular expressions: % and _ as in LIKE, the rest as in others, over the whole text.
fn from_similar(pattern: &str) -> Result<Compiled> {
    let mut out = String::from("^(?:");
    let mut inside = false;
    for c in pattern.chars() {
        match c {
            '[' => {
                inside = true;
                out.push(c);
            }
            ']' => {
                inside = false;
                out.push(c);
            }
            _ if inside => out.push(c),
            '%' => out.push_str("(?s:.*)"),
            '_' => out.push_str("(?s:.)"),
            '.' | '^' | '$' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out.push_str(")$");
    match Regex::new(&out) {
        Ok(regex) => Ok(Compiled::Regex(regex)),
        Err(error) => Err(
            Error::user(format!("the pattern '{pattern}' of SIMILAR TO is invalid"))
                .with_detail(error.to_string()),
        ),
    }
}

fn similar(call: &Call<'_>, wanted: bool) -> Result<ArrayRef> {
    let (texts, patterns) = (call.args[0].strings(), call.args[1].strings());
    let mut cache = Patterns::new(from_similar);
    let mut failure = None;
    let array = booleans(call.rows, |row| {
        let (text, pattern) = (texts.get(row)?, patterns.get(row)?);
        match cache.get(pattern) {
            Ok(regex) => Some(regex.is_some_and(|r| r.is_match(text)) == wanted),
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        }
    })?;
    failure.map_or(Ok(array), Err)
}
