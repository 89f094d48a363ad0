//! From text to the tokens that the parser works on: no white space, hints taken out to where
//! they belong, `>>` apart (it closes two types, Flink has no shifts).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::dialect::Flink;
use super::source::{Hint, HintKey, Source};
use crate::error::{Result, SqlError};

pub(crate) struct Tokens {
    pub tokens: Vec<TokenWithSpan>,
    pub source: Arc<Source>,
}

/// Fails with the source, for the error to quote it.
pub(crate) fn tokenize(script: &str) -> std::result::Result<Tokens, (SqlError, Arc<Source>)> {
    let plain = || {
        Arc::new(Source {
            text: script.to_owned(),
            hints: BTreeMap::new(),
        })
    };
    match collect(script) {
        Ok((tokens, hints)) => Ok(Tokens {
            tokens,
            source: Arc::new(Source {
                text: script.to_owned(),
                hints,
            }),
        }),
        Err(e) => Err((e, plain())),
    }
}

/// `// comments` as `-- comments`, which the tokenizer knows: places stay as they are.
fn with_dashes(script: &str) -> Cow<'_, str> {
    if !script.contains("//") {
        return Cow::Borrowed(script);
    }
    let mut out = String::with_capacity(script.len());
    let mut rest = script;
    while let Some(c) = rest.chars().next() {
        // What is taken whole: a text, a quoted name, a comment, or one character.
        let end = |text: &str, close: &str| text.find(close).map_or(rest.len(), |at| 2 + at + close.len());
        let whole = match c {
            '\'' | '`' => rest[1..].find(c).map_or(rest.len(), |at| at + 2),
            '-' if rest.starts_with("--") => end(&rest[2..], "\n"),
            '/' if rest.starts_with("/*") => end(&rest[2..], "*/"),
            '/' if rest.starts_with("//") => {
                out.push_str("--");
                rest = &rest[2..];
                rest.find('\n').map_or(rest.len(), |at| at + 1)
            }
            c => c.len_utf8(),
        };
        out.push_str(&rest[..whole]);
        rest = &rest[whole..];
    }
    Cow::Owned(out)
}

type Hints = BTreeMap<HintKey, Vec<Hint>>;

fn collect(script: &str) -> Result<(Vec<TokenWithSpan>, Hints)> {
    let all = Tokenizer::new(&Flink, &with_dashes(script)).tokenize_with_location()?;
    let mut tokens: Vec<TokenWithSpan> = Vec::with_capacity(all.len());
    let mut hints = Hints::new();
    for token in all {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => {
                let Some(before) = tokens.last() else {
                    return Err(SqlError::new(
                        "a hint stands behind SELECT or a table's name",
                        token.span,
                    ));
                };
                let key = (before.span.start.line, before.span.start.column);
                let found = super::hints::parse(&text[1..], token.span)?;
                hints.entry(key).or_default().extend(found);
            }
            Token::Whitespace(_) | Token::EOF => {}
            Token::ShiftRight => {
                let (start, end) = (token.span.start, token.span.end);
                let middle = Location::new(start.line, start.column + 1);
                tokens.push(TokenWithSpan::new(Token::Gt, Span::new(start, middle)));
                tokens.push(TokenWithSpan::new(Token::Gt, Span::new(middle, end)));
            }
            Token::DoubleEq => {
                return Err(SqlError::new("'==' is no operator of Flink SQL", token.span)
                    .with_hint("write = for a comparison"));
            }
            // The tokenizer takes 0x1F for X'1F', which is one quote longer.
            Token::HexStringLiteral(digits)
                if token.span.end.column - token.span.start.column < digits.len() as u64 + 3 =>
            {
                return Err(SqlError::new("Flink SQL has no hexadecimal numbers", token.span)
                    .with_hint("write the number in decimals, or X'..' for bytes"));
            }
            Token::DoubleQuotedString(_) => {
                return Err(
                    SqlError::new("double quotes mean nothing in Flink SQL", token.span)
                        .with_hint("texts stand in 'single quotes', names in `backquotes`"),
                );
            }
            // A text goes on in another one on a later line: they are one.
            Token::SingleQuotedString(more)
                if matches!(
                    tokens.last().map(|t| &t.token),
                    Some(Token::SingleQuotedString(_))
                ) =>
            {
                if let Some(last) = tokens.last_mut() {
                    if last.span.end.line == token.span.start.line {
                        return Err(
                            SqlError::new("two texts stand side by side on a line", token.span)
                                .with_hint("join them by ||, or put the second one on the next line"),
                        );
                    }
                    if let Token::SingleQuotedString(text) = &mut last.token {
                        text.push_str(more);
                    }
                    last.span.end = token.span.end;
                }
            }
            Token::Word(w)
                if w.quote_style.is_none()
                    && w.value.eq_ignore_ascii_case("UESCAPE")
                    && matches!(
                        tokens.last().map(|t| &t.token),
                        Some(Token::UnicodeStringLiteral(_) | Token::SingleQuotedString(_))
                    ) =>
            {
                return Err(SqlError::unsupported("UESCAPE", token.span)
                    .with_hint("write the characters with a backslash: U&'\\00e4'"));
            }
            _ => tokens.push(token),
        }
    }
    Ok((tokens, hints))
}
