//! `sasl.jaas.config`: one login module with its options, in JAAS's notation.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use millrace_core::{Error, Result};

/// A parsed login module. Its options hold secrets: it is not `Debug`.
#[derive(Clone)]
pub struct Login {
    /// The class's full name.
    pub module: String,
    pub options: BTreeMap<String, String>,
}

const FLAGS: &[&str] = &["required", "requisite", "sufficient", "optional"];

enum Token {
    Word(String),
    Quoted(String),
    Equals,
    Semicolon,
}

/// Parses `class flag key="value" ... ;`. Errors show nothing of the text: it holds passwords.
pub fn parse(text: &str) -> Result<Login> {
    let mut tokens = tokens(text)?.into_iter();
    let Some(Token::Word(module)) = tokens.next() else {
        return Err(wrong("it begins with a login module's class"));
    };
    match tokens.next() {
        Some(Token::Word(flag)) if FLAGS.contains(&flag.to_ascii_lowercase().as_str()) => {}
        _ => return Err(wrong("after the class stands 'required'")),
    }
    let mut options = BTreeMap::new();
    loop {
        match tokens.next() {
            Some(Token::Semicolon) => break,
            Some(Token::Word(key)) => {
                let (Some(Token::Equals), Some(Token::Word(value) | Token::Quoted(value))) =
                    (tokens.next(), tokens.next())
                else {
                    return Err(wrong("options are written key=\"value\""));
                };
                options.insert(key, value);
            }
            _ => return Err(wrong("it ends with ';'")),
        }
    }
    if tokens.next().is_some() {
        return Err(wrong("it holds one login module only"));
    }
    Ok(Login { module, options })
}

fn wrong(hint: &str) -> Error {
    Error::user("'properties.sasl.jaas.config' cannot be read").with_hint(hint)
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            c if c.is_whitespace() => {
                chars.next();
            }
            '=' => {
                chars.next();
                tokens.push(Token::Equals);
            }
            ';' => {
                chars.next();
                tokens.push(Token::Semicolon);
            }
            '"' | '\'' => {
                chars.next();
                tokens.push(Token::Quoted(quoted(&mut chars, c)?));
            }
            _ => {
                let mut word = String::new();
                while let Some(&c) = chars.peek() {
                    if c.is_whitespace() || matches!(c, '=' | ';' | '"' | '\'') {
                        break;
                    }
                    word.push(c);
                    chars.next();
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

/// A quoted text with the escapes of Java's `StreamTokenizer`.
fn quoted(chars: &mut Peekable<Chars>, quote: char) -> Result<String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            None | Some('\n' | '\r') => return Err(wrong("a quotation mark is not closed")),
            Some(c) if c == quote => return Ok(text),
            Some('\\') => match chars.next() {
                None => return Err(wrong("a quotation mark is not closed")),
                Some('a') => text.push('\u{7}'),
                Some('b') => text.push('\u{8}'),
                Some('f') => text.push('\u{c}'),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('v') => text.push('\u{b}'),
                Some(first @ '0'..='7') => {
                    // Up to three octal digits, the third only after a first of at most 3.
                    let mut code = first as u32 - '0' as u32;
                    let most = if first <= '3' { 2 } else { 1 };
                    for _ in 0..most {
                        match chars.peek() {
                            Some(&d @ '0'..='7') => {
                                code = code * 8 + (d as u32 - '0' as u32);
                                chars.next();
                            }
                            _ => break,
                        }
                    }
                    text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                }
                Some(other) => text.push(other),
            },
            Some(c) => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_with_quoted_and_bare_options() {
        let login = parse(
            "org.apache.kafka.common.security.plain.PlainLoginModule required\n  username=\"al;ice\" password='p\\\"=\\101' n=1;",
        )
        .unwrap();
        assert_eq!(
            login.module,
            "org.apache.kafka.common.security.plain.PlainLoginModule"
        );
        assert_eq!(login.options["username"], "al;ice");
        assert_eq!(login.options["password"], "p\"=A");
        assert_eq!(login.options["n"], "1");
    }

    #[test]
    fn what_does_not_parse_is_not_repeated() {
        for text in [
            "",
            "M",
            "M required username=\"s3cret\"",
            "M required username \"s3cret\";",
            "M required username=\"s3cret;",
            "M required; N required p=\"s3cret\";",
            "M sometimes p=\"s3cret\";",
        ] {
            let e = parse(text).err().unwrap().to_string();
            assert!(!e.contains("s3cret"), "{e}");
        }
    }
}
