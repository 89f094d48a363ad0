//! LIKE, SIMILAR TO and regular expressions.
//!
//! Patterns are Java's; they are rewritten for the regex crate, which runs in linear time. What
//! that cannot express (look-around, back references, possessive quantifiers) is refused by name.
//! A pattern that Java refuses too gives FALSE for REGEXP and NULL elsewhere.

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

use arrow::array::ArrayRef;
use arrow::datatypes as a;
use millrace_core::{Error, Result};
use regex::{Captures, Regex};

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
        |call| number(call, |pattern, text| pattern.captures_all(text).count() as i32),
    )
    .fallible(),
    Function::eager(
        "REGEXP_INSTR",
        "REGEXP_INSTR(STRING, pattern)",
        number_type,
        |call| {
            number(call, |pattern, text| {
                pattern
                    .regex
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
    Regex(Pattern),
    Invalid,
}

impl Compiled {
    fn new(pattern: &str) -> Result<Compiled> {
        let unsupported = |detail: String| {
            Error::unsupported(format!("the regular expression '{pattern}'")).with_detail(detail)
        };
        let java = Java::translate(pattern).map_err(|what| unsupported(what.to_owned()))?;
        match Regex::new(&java.out) {
            Ok(regex) => Ok(Compiled::Regex(Pattern {
                regex,
                ends_before_line: java.ends_before_line,
            })),
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
                Err(unsupported(message))
            }
        }
    }
}

/// A pattern of Java that must match a whole text, as `Pattern.matches` has it.
pub(crate) fn whole(pattern: &str) -> Result<Regex> {
    let java = Java::translate(pattern).map_err(|what| {
        Error::unsupported(format!("the regular expression '{pattern}'")).with_detail(what)
    })?;
    Regex::new(&format!("^(?:{})$", java.out))
        .map_err(|e| Error::user(format!("'{pattern}' is no regular expression")).with_source(e))
}

/// A compiled pattern, matched as Java's `Matcher` does.
#[derive(Clone)]
struct Pattern {
    regex: Regex,
    /// It has a `$` or `\\Z`, which hold before a line's end at the end of the text too.
    ends_before_line: bool,
}

impl Pattern {
    fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
            || (self.ends_before_line
                && without_line_end(text).is_some_and(|shorter| self.regex.is_match(shorter)))
    }

    /// Where `$` may hold at two places the search is another one than the regex crate's.
    fn check(&self, text: &str) -> Result<&Self> {
        if self.ends_before_line && without_line_end(text).is_some() {
            return Err(Error::unsupported(
                "a regular expression with $ over a text that ends with a line break",
            )
            .with_hint("TRIM the text, or write \\z for its very end"));
        }
        Ok(self)
    }

    /// All matches from left to right. Other than the regex crate, Java looks for an empty one
    /// directly behind a match too.
    fn captures_all<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Captures<'t>> {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let found = self.regex.captures_at(text, next?)?;
            let range = found.get(0)?.range();
            next = match text[range.end..].chars().next() {
                _ if !range.is_empty() => Some(range.end),
                Some(c) => Some(range.end + c.len_utf8()),
                None => None,
            };
            Some(found)
        })
    }
}

/// The text without the line's end that it ends with.
fn without_line_end(text: &str) -> Option<&str> {
    text.strip_suffix("\r\n")
        .or_else(|| text.strip_suffix(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']))
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

    fn get(&mut self, pattern: &str) -> Result<Option<&Pattern>> {
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

/// A pattern of Java rewritten for the regex crate.
struct Java {
    out: String,
    ends_before_line: bool,
}

/// Flags of Java that the regex crate has not or has otherwise; `(?x)` is the same in both.
#[derive(Clone, Copy, Default)]
struct Flags {
    /// `i`: of ASCII letters only, unless `unicode_case` is set.
    ignore_case: bool,
    unicode_case: bool,
    multi_line: bool,
    dot_all: bool,
    /// `d`: only `\\n` ends a line.
    unix_lines: bool,
    /// `U`: \\w, \\d and \\s mean Unicode's.
    unicode_classes: bool,
}

const LINE_ENDS: &str = "\\n\\r\\u{85}\\u{2028}\\u{2029}";

impl Java {
    /// What the regex crate cannot express is an error: its name.
    fn translate(pattern: &str) -> std::result::Result<Java, &'static str> {
        let mut java = Java {
            out: String::with_capacity(pattern.len() + 16),
            ends_before_line: false,
        };
        let mut flags = Flags::default();
        // The flags around each open group.
        let mut groups: Vec<Flags> = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => java.escape(&mut chars, flags, false)?,
                '[' => java.class(&mut chars, flags)?,
                '.' => match (flags.dot_all, flags.unix_lines) {
                    (true, _) => java.out.push_str("(?s:.)"),
                    (_, true) => java.out.push_str("[^\\n]"),
                    _ => {
                        java.out.push_str("[^");
                        java.out.push_str(LINE_ENDS);
                        java.out.push(']');
                    }
                },
                '^' if flags.multi_line => java.out.push_str("(?m:^)"),
                '$' if flags.multi_line => java.out.push_str("(?m:$)"),
                '$' => {
                    java.ends_before_line = true;
                    java.out.push_str("\\z");
                }
                '(' => {
                    groups.push(flags);
                    java.out.push('(');
                    if chars.peek() == Some(&'?') {
                        java.group(&mut chars, &mut flags, &mut groups)?;
                    }
                }
                ')' => {
                    flags = groups.pop().unwrap_or(flags);
                    java.out.push(')');
                }
                '*' | '+' | '?' => {
                    java.out.push(c);
                    possessive(chars.peek())?;
                }
                '{' => {
                    java.out.push(c);
                    for c in chars.by_ref() {
                        java.out.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                    possessive(chars.peek())?;
                }
                c => java.literal(c, flags),
            }
        }
        Ok(java)
    }

    /// Behind `(?`: flags for what follows or for a group, or another kind of group.
    fn group(
        &mut self,
        chars: &mut Peekable<Chars<'_>>,
        flags: &mut Flags,
        groups: &mut Vec<Flags>,
    ) -> std::result::Result<(), &'static str> {
        let text: String = chars
            .clone()
            .skip(1)
            .take_while(|c| c.is_ascii_alphabetic() || *c == '-')
            .collect();
        let end = chars.clone().nth(1 + text.len());
        if !matches!(end, Some(')' | ':')) {
            return match chars.clone().nth(1) {
                Some('=' | '!') => Err("look-ahead"),
                Some('>') => Err("an atomic group"),
                Some('<') if matches!(chars.clone().nth(2), Some('=' | '!')) => Err("look-behind"),
                _ => Ok(()),
            };
        }
        chars.nth(1 + text.len());
        let mut on = true;
        let mut kept = String::new();
        for flag in text.chars() {
            match flag {
                '-' => on = false,
                'i' => flags.ignore_case = on,
                'u' => flags.unicode_case = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_all = on,
                'd' => flags.unix_lines = on,
                'U' => (flags.unicode_classes, flags.unicode_case) = (on, on),
                'x' => kept.push_str(if on { "x" } else { "-x" }),
                _ => return Err("an unknown flag"),
            }
        }
        // Case is ignored letter by letter here, unless it is Unicode's.
        let unicode = flags.ignore_case && flags.unicode_case;
        let kept = match (kept.starts_with('-'), unicode) {
            (true, true) => format!("i{kept}"),
            (true, false) => "-xi".to_owned(),
            (false, true) => format!("{kept}i"),
            (false, false) => format!("{kept}-i"),
        };
        self.out.push('?');
        self.out.push_str(&kept);
        if end == Some(')') {
            // They hold to the end of the group around.
            groups.pop();
            self.out.push(')');
        } else {
            self.out.push(':');
        }
        Ok(())
    }

    fn literal(&mut self, c: char, flags: Flags) {
        if flags.ignore_case && !flags.unicode_case && c.is_ascii_alphabetic() {
            self.out.push('[');
            self.out.push(c.to_ascii_lowercase());
            self.out.push(c.to_ascii_uppercase());
            self.out.push(']');
        } else {
            self.out.push(c);
        }
    }

    /// One character that means itself.
    fn quoted(&mut self, c: char, flags: Flags) {
        if c.is_ascii_punctuation() {
            self.out.push('\\');
            self.out.push(c);
        } else {
            self.literal(c, flags);
        }
    }

    fn escape(
        &mut self,
        chars: &mut Peekable<Chars<'_>>,
        flags: Flags,
        in_class: bool,
    ) -> std::result::Result<(), &'static str> {
        let Some(c) = chars.next() else {
            self.out.push('\\');
            return Ok(());
        };
        let out = &mut self.out;
        match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' if flags.unicode_classes => out.extend(['\\', c]),
            'd' => out.push_str("[0-9]"),
            'D' => out.push_str("[^0-9]"),
            'w' => out.push_str("[a-zA-Z0-9_]"),
            'W' => out.push_str("[^a-zA-Z0-9_]"),
            's' => out.push_str("[ \\t\\n\\x0B\\f\\r]"),
            'S' => out.push_str("[^ \\t\\n\\x0B\\f\\r]"),
            'h' => out.push_str("[ \\t\\xA0\\u1680\\u180e\\u2000-\\u200a\\u202f\\u205f\\u3000]"),
            'v' => out.push_str("[\\n\\x0B\\f\\r\\u{85}\\u{2028}\\u{2029}]"),
            'R' if !in_class => out.push_str("(?:\\r\\n|[\\n\\x0B\\f\\r\\u{85}\\u{2028}\\u{2029}])"),
            'Z' if !in_class => {
                self.ends_before_line = true;
                out.push_str("\\z");
            }
            'e' => out.push_str("\\x1B"),
            '0' => {
                let digits: String = chars
                    .clone()
                    .take(3)
                    .take_while(|c| ('0'..='7').contains(c))
                    .collect();
                let digits = if digits.len() == 3 && digits.as_bytes()[0] > b'3' {
                    &digits[..2]
                } else {
                    &digits
                };
                let code = u32::from_str_radix(digits, 8).map_err(|_| "an octal escape without digits")?;
                chars.nth(digits.len() - 1);
                out.push_str(&format!("\\x{{{code:X}}}"));
            }
            'Q' => {
                let rest: String = chars.clone().collect();
                let text = rest.split("\\E").next().unwrap_or_default();
                for _ in 0..text.chars().count() + 2 {
                    chars.next();
                }
                text.chars().for_each(|c| self.quoted(c, flags));
            }
            'p' | 'P' if chars.peek() == Some(&'{') => {
                let name: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                let posix = [
                    "Lower", "Upper", "Alpha", "Digit", "Alnum", "Punct", "Graph", "Print", "Blank", "Cntrl",
                    "XDigit", "Space",
                ];
                if flags.ignore_case && matches!(name.as_str(), "Lower" | "Upper") {
                    return Err("\\p{Lower} and \\p{Upper} where case is ignored");
                }
                if posix.contains(&name.as_str()) {
                    let not = if c == 'P' { "^" } else { "" };
                    out.push_str(&format!("[[:{not}{}:]]", name.to_ascii_lowercase()));
                } else {
                    out.push_str(&format!("\\{c}{{{name}}}"));
                }
            }
            '1'..='9' | 'k' if !in_class => return Err("a back reference"),
            'G' | 'X' | 'b' | 'B' | 'N' | 'c' if in_class || matches!(c, 'G' | 'X' | 'N' | 'c') => {
                return Err("\\G, \\X, \\N or \\c");
            }
            other => out.extend(['\\', other]),
        }
        Ok(())
    }

    /// A class, with the other case of its ASCII letters where case is ignored.
    fn class(
        &mut self,
        chars: &mut Peekable<Chars<'_>>,
        flags: Flags,
    ) -> std::result::Result<(), &'static str> {
        self.out.push('[');
        if chars.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let both = flags.ignore_case && !flags.unicode_case;
        let mut first = true;
        while let Some(c) = chars.next() {
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' => self.class(chars, flags)?,
                '\\' => self.escape(chars, flags, true)?,
                '&' if chars.peek() == Some(&'&') => {
                    chars.next();
                    self.out.push_str("&&");
                }
                c => {
                    let mut ahead = chars.clone();
                    let last = match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(last)) if !matches!(last, ']' | '[' | '\\') => {
                            chars.nth(1);
                            last
                        }
                        _ => c,
                    };
                    self.range(c, last);
                    if both {
                        // Letters with another case at the same distance.
                        for (from, to, other) in [('a', 'z', 'A'), ('A', 'Z', 'a')] {
                            let (low, high) = (c.max(from), last.min(to));
                            if low <= high {
                                let shifted = |c: char| char::from((c as u8 - from as u8) + other as u8);
                                self.range(shifted(low), shifted(high));
                            }
                        }
                    }
                }
            }
            first = false;
        }
        Ok(())
    }

    fn range(&mut self, first: char, last: char) {
        self.member(first);
        if first != last {
            self.out.push('-');
            self.member(last);
        }
    }

    /// Pairs of some signs are operators of the regex crate only.
    fn member(&mut self, c: char) {
        if c.is_ascii_punctuation() {
            self.out.push('\\');
        }
        self.out.push(c);
    }
}

/// A quantifier with `+` behind it gives nothing back: the regex crate would read it as repeated.
fn possessive(next: Option<&char>) -> std::result::Result<(), &'static str> {
    match next {
        Some('+') => Err("a possessive quantifier"),
        _ => Ok(()),
    }
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
        let mut rest = 0;
        for found in regex.check(text)?.captures_all(text).filter_map(|c| c.get(0)) {
            out.extend_from_slice(&text.as_bytes()[rest..found.start()]);
            out.extend_from_slice(replacement.as_bytes());
            rest = found.end();
        }
        out.extend_from_slice(&text.as_bytes()[rest..]);
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
        let found = regex.check(text)?.regex.captures(text).and_then(|c| c.get(group));
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
            Some(pattern) if group < pattern.regex.captures_len() => {
                for captures in pattern.check(text)?.captures_all(text) {
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

fn number(call: &Call<'_>, count: impl Fn(&Pattern, &str) -> i32) -> Result<ArrayRef> {
    let (texts, patterns) = (call.args[0].strings(), call.args[1].strings());
    let mut cache = Patterns::new(Compiled::new);
    try_primitives::<a::Int32Type>(call.rows, |row| {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
            return Ok(None);
        };
        match cache.get(pattern)? {
            Some(pattern) => Ok(Some(count(pattern.check(text)?, text))),
            None => Ok(None),
        }
    })
}

fn substr(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.args[0].strings(), call.args[1].strings());
    let mut cache = Patterns::new(Compiled::new);
    try_strings(call.rows, |row, out| {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
            return Ok(false);
        };
        let found = match cache.get(pattern)? {
            Some(pattern) => pattern.check(text)?.regex.find(text),
            None => None,
        };
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
        Ok(regex) => Ok(Compiled::Regex(Pattern {
            regex,
            ends_before_line: false,
        })),
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
