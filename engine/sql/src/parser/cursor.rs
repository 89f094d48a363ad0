//! Small steps over the parser's tokens. Words are compared without regard to case and only
//! where they are not quoted, whether sqlparser has a keyword for them or not.

use sqlparser::ast::Ident;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::error::{END, Result, SqlError};

pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Whether these words are next.
pub(crate) fn at_words(parser: &Parser, words: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .all(|(i, word)| is_word(&parser.peek_nth_token_ref(i).token, word))
}

/// Steps over these words if they are next.
pub(crate) fn accept(parser: &mut Parser, words: &[&str]) -> bool {
    let found = at_words(parser, words);
    if found {
        words.iter().for_each(|_| parser.advance_token());
    }
    found
}

pub(crate) fn expect(parser: &mut Parser, words: &[&str]) -> Result<()> {
    if accept(parser, words) {
        Ok(())
    } else {
        Err(expected(parser, &words.join(" ")))
    }
}

pub(crate) fn expect_token(parser: &mut Parser, token: &Token) -> Result<()> {
    if parser.consume_token(token) {
        Ok(())
    } else {
        Err(expected(parser, &format!("'{token}'")))
    }
}

/// The place of the next token.
pub(crate) fn here(parser: &Parser) -> Span {
    place(parser.peek_token_ref())
}

fn place(token: &TokenWithSpan) -> Span {
    if token.token == Token::EOF {
        END
    } else {
        token.span
    }
}

/// From the start of one place to the end of another.
pub(crate) fn join(from: Span, to: Span) -> Span {
    Span::new(from.start, to.end)
}

/// The error that something else is next.
pub(crate) fn expected(parser: &Parser, what: &str) -> SqlError {
    let token = parser.peek_token_ref();
    let message = match &token.token {
        Token::EOF => format!("expected {what}, found the end of the script"),
        found => format!("expected {what}, found '{found}'"),
    };
    SqlError::new(message, place(token))
}

/// The error in the form that a dialect's hooks must return.
pub(crate) fn to_parser_error(error: SqlError) -> ParserError {
    ParserError::ParserError(error.into_parser_text())
}

pub(crate) fn identifier(parser: &mut Parser, what: &str) -> Result<Ident> {
    match &parser.peek_token_ref().token {
        Token::Word(_) => Ok(parser.parse_identifier()?),
        _ => Err(expected(parser, what)),
    }
}

pub(crate) fn string(parser: &mut Parser, what: &str) -> Result<String> {
    match &parser.peek_token_ref().token {
        Token::SingleQuotedString(s) | Token::UnicodeStringLiteral(s) => {
            let s = s.clone();
            parser.advance_token();
            Ok(s)
        }
        _ => Err(expected(parser, what)),
    }
}

/// An unsigned number within bounds.
pub(crate) fn number(parser: &mut Parser, what: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32> {
    match &parser.peek_token_ref().token {
        Token::Number(text, false) => match text.parse::<u32>() {
            Ok(n) if range.contains(&n) => {
                parser.advance_token();
                Ok(n)
            }
            _ => Err(SqlError::new(
                format!("{what} must be between {} and {}", range.start(), range.end()),
                here(parser),
            )),
        },
        _ => Err(expected(parser, what)),
    }
}
