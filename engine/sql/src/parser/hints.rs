//! `/*+ OPTIONS('key' = 'value', ...) */` and `/*+ STATE_TTL('table' = '1 d', ...) */`.

use sqlparser::tokenizer::{Span, Token, Tokenizer};

use super::dialect::Flink;
use super::source::Hint;
use crate::error::{Result, SqlError};

/// Reads what stands between `/*+` and `*/`; `at` is the place of all of it.
pub(crate) fn parse(text: &str, at: Span) -> Result<Vec<Hint>> {
    let wrong = || {
        SqlError::new("a hint is not well-formed", at).with_hint(
            "a table's options are overridden by /*+ OPTIONS('key' = 'value', ...) */ behind its name, the time \
             to live of state by /*+ STATE_TTL('table' = '1 d', ...) */ behind SELECT",
        )
    };
    let tokens: Vec<Token> = Tokenizer::new(&Flink, text)
        .tokenize()
        .map_err(|_| wrong())?
        .into_iter()
        .filter(|t| !matches!(t, Token::Whitespace(_)))
        .collect();
    let mut tokens = tokens.into_iter().peekable();
    let mut hints = Vec::new();
    while let Some(token) = tokens.next() {
        let Token::Word(name) = token else {
            return Err(wrong());
        };
        let mut hint = Hint {
            name: name.value,
            options: Vec::new(),
            span: at,
        };
        if tokens.peek() == Some(&Token::LParen) {
            tokens.next();
            if ["OPTIONS", "STATE_TTL"]
                .iter()
                .any(|known| hint.name.eq_ignore_ascii_case(known))
            {
                loop {
                    match (tokens.next(), tokens.next(), tokens.next(), tokens.next()) {
                        (
                            Some(Token::SingleQuotedString(key)),
                            Some(Token::Eq),
                            Some(Token::SingleQuotedString(value)),
                            Some(end @ (Token::Comma | Token::RParen)),
                        ) => {
                            hint.options.push((key, value));
                            if end == Token::RParen {
                                break;
                            }
                        }
                        _ => return Err(wrong()),
                    }
                }
            } else {
                // Another hint is refused by its name later; only its end matters here.
                let mut depth = 1;
                while depth > 0 {
                    match tokens.next() {
                        Some(Token::LParen) => depth += 1,
                        Some(Token::RParen) => depth -= 1,
                        Some(_) => {}
                        None => return Err(wrong()),
                    }
                }
            }
        }
        hints.push(hint);
        if tokens.peek() == Some(&Token::Comma) {
            tokens.next();
            if tokens.peek().is_none() {
                return Err(wrong());
            }
        }
    }
    if hints.is_empty() {
        return Err(wrong());
    }
    Ok(hints)
}
