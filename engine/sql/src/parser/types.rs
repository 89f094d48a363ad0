//! Flink's type names, in all their spellings.

use millrace_expr::types::MAX_LENGTH;
use millrace_expr::{DataType, Field, TypeKind};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use super::cursor::{accept, expect, expect_token, expected, here, identifier, is_word, number, string};
use crate::error::{Result, SqlError};

/// How deep types may be nested.
const MAX_DEPTH: usize = 64;

/// Reads a type with its nullability; without a word about it a type is nullable.
pub(crate) fn parse(parser: &mut Parser) -> Result<DataType> {
    nested(parser, 0)
}

/// Reads a type from a text of its own, as it stands in SHOW CREATE TABLE.
#[cfg(test)]
pub(crate) fn parse_text(text: &str) -> Result<DataType> {
    let tokens = super::tokens::tokenize(text).map_err(|(e, _)| e)?;
    let mut parser = Parser::new(&super::dialect::Flink).with_tokens_with_locations(tokens.tokens);
    let parsed = parse(&mut parser)?;
    match parser.peek_token_ref().token {
        Token::EOF => Ok(parsed),
        _ => Err(expected(&parser, "the end of the type")),
    }
}

/// Reads the type of a CAST, which says nothing about its own nullability.
pub(crate) fn parse_bare(parser: &mut Parser) -> Result<DataType> {
    read(parser, 0, false)
}

fn nested(parser: &mut Parser, depth: usize) -> Result<DataType> {
    read(parser, depth, true)
}

fn read(parser: &mut Parser, depth: usize, nullability: bool) -> Result<DataType> {
    if depth > MAX_DEPTH {
        return Err(SqlError::new("the type is nested too deeply", here(parser)));
    }
    let mut data_type = DataType::nullable(kind(parser, depth)?);
    loop {
        if nullability && accept(parser, &["NOT", "NULL"]) {
            data_type.nullable = false;
        } else if nullability && accept(parser, &["NULL"]) {
            data_type.nullable = true;
        } else if accept(parser, &["ARRAY"]) {
            data_type = DataType::nullable(TypeKind::Array(Box::new(data_type)));
        } else if accept(parser, &["MULTISET"]) {
            data_type = DataType::nullable(TypeKind::Multiset(Box::new(data_type)));
        } else {
            return Ok(data_type);
        }
    }
}

fn kind(parser: &mut Parser, depth: usize) -> Result<TypeKind> {
    let at = here(parser);
    let name = match &parser.peek_token_ref().token {
        Token::Word(w) if w.quote_style.is_none() => w.value.to_ascii_uppercase(),
        Token::Word(w) => {
            let what = format!("the user-defined type '{}'", w.value);
            return Err(SqlError::unsupported(what, at));
        }
        _ => return Err(expected(parser, "a data type")),
    };
    parser.advance_token();
    Ok(match name.as_str() {
        "STRING" => TypeKind::Varchar(MAX_LENGTH),
        "BYTES" => TypeKind::Varbinary(MAX_LENGTH),
        "BOOLEAN" => TypeKind::Boolean,
        "TINYINT" => TypeKind::TinyInt,
        "SMALLINT" => TypeKind::SmallInt,
        "INT" | "INTEGER" => TypeKind::Int,
        "BIGINT" => TypeKind::BigInt,
        "FLOAT" => TypeKind::Float,
        "DOUBLE" => {
            accept(parser, &["PRECISION"]);
            TypeKind::Double
        }
        "DATE" => TypeKind::Date,
        "NULL" => TypeKind::Null,
        // Without a length Flink takes one character, but any number where they vary.
        "CHAR" | "CHARACTER" => match accept(parser, &["VARYING"]) {
            true => TypeKind::Varchar(length(parser)?.unwrap_or(MAX_LENGTH)),
            false => TypeKind::Char(length(parser)?.unwrap_or(1)),
        },
        "VARCHAR" => TypeKind::Varchar(length(parser)?.unwrap_or(MAX_LENGTH)),
        "BINARY" => match accept(parser, &["VARYING"]) {
            true => TypeKind::Varbinary(length(parser)?.unwrap_or(MAX_LENGTH)),
            false => TypeKind::Binary(length(parser)?.unwrap_or(1)),
        },
        "VARBINARY" => TypeKind::Varbinary(length(parser)?.unwrap_or(MAX_LENGTH)),
        "DECIMAL" | "DEC" | "NUMERIC" => decimal(parser)?,
        "TIME" => {
            // Flink's planner has TIME(0) for all of them.
            precision(parser, MAX_LENGTH)?;
            time_zone(parser, at)?;
            TypeKind::Time(0)
        }
        "TIMESTAMP" => {
            let precision = precision(parser, 9)?.unwrap_or(6);
            if accept(parser, &["WITH", "LOCAL", "TIME", "ZONE"]) {
                TypeKind::TimestampLtz(precision)
            } else {
                time_zone(parser, at)?;
                TypeKind::Timestamp(precision)
            }
        }
        "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(precision(parser, 9)?.unwrap_or(6)),
        "INTERVAL" => interval(parser)?,
        "ARRAY" => {
            expect_token(parser, &Token::Lt)?;
            let element = nested(parser, depth + 1)?;
            expect_token(parser, &Token::Gt)?;
            TypeKind::Array(Box::new(element))
        }
        "MULTISET" => {
            expect_token(parser, &Token::Lt)?;
            let element = nested(parser, depth + 1)?;
            expect_token(parser, &Token::Gt)?;
            TypeKind::Multiset(Box::new(element))
        }
        "MAP" => {
            expect_token(parser, &Token::Lt)?;
            let key = nested(parser, depth + 1)?;
            expect_token(parser, &Token::Comma)?;
            let value = nested(parser, depth + 1)?;
            expect_token(parser, &Token::Gt)?;
            TypeKind::Map(Box::new(key), Box::new(value))
        }
        "ROW" => row(parser, depth)?,
        "RAW" | "VARIANT" | "BITMAP" | "STRUCTURED" | "DESCRIPTOR" | "TIMESTAMP_TZ" => {
            return Err(SqlError::unsupported(format!("the type {name}"), at));
        }
        _ => {
            let error = SqlError::new(format!("unknown data type '{name}'"), at);
            return Err(match crate::error::nearest(&name, NAMES.iter().copied()) {
                Some(known) => error.with_hint(format!("did you mean {known}?")),
                None => error.with_hint("user-defined types are not supported yet"),
            });
        }
    })
}

const NAMES: &[&str] = &[
    "STRING",
    "BYTES",
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DATE",
    "CHAR",
    "VARCHAR",
    "BINARY",
    "VARBINARY",
    "DECIMAL",
    "NUMERIC",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "INTERVAL",
    "ARRAY",
    "MULTISET",
    "MAP",
    "ROW",
];

fn row(parser: &mut Parser, depth: usize) -> Result<TypeKind> {
    let close = match parser.peek_token_ref().token {
        Token::LParen => Token::RParen,
        // An empty row: `ROW<>` is one token.
        Token::Neq => {
            parser.advance_token();
            return Ok(TypeKind::Row(Vec::new()));
        }
        _ => Token::Gt,
    };
    expect_token(
        parser,
        if close == Token::Gt {
            &Token::Lt
        } else {
            &Token::LParen
        },
    )?;
    let mut fields: Vec<Field> = Vec::new();
    if !parser.consume_token(&close) {
        loop {
            let name = identifier(parser, "the name of a field")?;
            if fields.iter().any(|f| f.name == name.value) {
                return Err(SqlError::new(
                    format!("the row has the field '{}' twice", name.value),
                    name.span,
                ));
            }
            let data_type = nested(parser, depth + 1)?;
            // A field's comment is for readers of the script.
            if matches!(parser.peek_token_ref().token, Token::SingleQuotedString(_)) {
                string(parser, "a comment")?;
            }
            fields.push(Field::new(name.value, data_type));
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        expect_token(parser, &close)?;
    }
    Ok(TypeKind::Row(fields))
}

fn length(parser: &mut Parser) -> Result<Option<u32>> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(None);
    }
    let length = number(parser, "a length", 1..=MAX_LENGTH)?;
    expect_token(parser, &Token::RParen)?;
    Ok(Some(length))
}

fn precision(parser: &mut Parser, max: u32) -> Result<Option<u8>> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(None);
    }
    let precision = number(parser, "a precision", 0..=max)?;
    expect_token(parser, &Token::RParen)?;
    Ok(Some(precision.min(u8::MAX.into()) as u8))
}

fn decimal(parser: &mut Parser) -> Result<TypeKind> {
    let mut result = (10, 0);
    if parser.consume_token(&Token::LParen) {
        result.0 = number(parser, "a precision", 1..=38)?;
        if parser.consume_token(&Token::Comma) {
            result.1 = number(parser, "a scale", 0..=result.0)?;
        }
        expect_token(parser, &Token::RParen)?;
    }
    Ok(TypeKind::Decimal {
        precision: result.0 as u8,
        scale: result.1 as u8,
    })
}

fn time_zone(parser: &mut Parser, at: Span) -> Result<()> {
    if accept(parser, &["WITH", "TIME", "ZONE"]) {
        return Err(SqlError::unsupported("a type WITH TIME ZONE", at)
            .with_hint("TIMESTAMP_LTZ, or TIMESTAMP WITH LOCAL TIME ZONE, holds an instant"));
    }
    accept(parser, &["WITHOUT", "TIME", "ZONE"]);
    Ok(())
}

/// Which of the two interval types: their precisions only limit what a literal may say.
fn interval(parser: &mut Parser) -> Result<TypeKind> {
    const UNITS: &[(&str, bool)] = &[
        ("YEAR", true),
        ("QUARTER", true),
        ("MONTH", true),
        ("WEEK", false),
        ("DAY", false),
        ("HOUR", false),
        ("MINUTE", false),
        ("SECOND", false),
    ];
    let unit = |parser: &mut Parser| -> Result<bool> {
        let token = &parser.peek_token_ref().token;
        let Some((_, months)) = UNITS.iter().find(|(name, _)| is_word(token, name)) else {
            return Err(expected(parser, "a unit of time"));
        };
        parser.advance_token();
        if parser.consume_token(&Token::LParen) {
            number(parser, "a precision", 0..=9)?;
            if parser.consume_token(&Token::Comma) {
                number(parser, "a precision", 0..=9)?;
            }
            expect_token(parser, &Token::RParen)?;
        }
        Ok(*months)
    };
    let months = unit(parser)?;
    if accept(parser, &["TO"]) {
        let at = here(parser);
        if unit(parser)? != months {
            return Err(SqlError::new(
                "an interval is of years and months, or of days and shorter units",
                at,
            ));
        }
    }
    Ok(if months {
        TypeKind::IntervalYearMonth
    } else {
        TypeKind::IntervalDaySecond
    })
}

/// `(name, ...)`.
pub(crate) fn name_list(parser: &mut Parser, what: &str) -> Result<Vec<sqlparser::ast::Ident>> {
    expect_token(parser, &Token::LParen)?;
    let mut names = vec![identifier(parser, what)?];
    while parser.consume_token(&Token::Comma) {
        names.push(identifier(parser, what)?);
    }
    expect_token(parser, &Token::RParen)?;
    Ok(names)
}

/// `NOT ENFORCED`: Flink checks no constraint, and so asks for the word.
pub(crate) fn not_enforced(parser: &mut Parser) -> Result<()> {
    let at = here(parser);
    if accept(parser, &["ENFORCED"]) || !super::cursor::at_words(parser, &["NOT", "ENFORCED"]) {
        return Err(SqlError::new("a PRIMARY KEY must be declared NOT ENFORCED", at)
            .with_hint("nobody checks that keys are unique: the owner of the data promises it"));
    }
    expect(parser, &["NOT", "ENFORCED"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (text, shown) in [
            ("string", "STRING"),
            ("VARCHAR", "STRING"),
            ("CHARACTER VARYING(5)", "VARCHAR(5)"),
            ("CHAR", "CHAR(1)"),
            ("CHARACTER(3)", "CHAR(3)"),
            ("BINARY", "BINARY(1)"),
            ("BINARY VARYING", "BYTES"),
            ("VARBINARY(9)", "VARBINARY(9)"),
            ("BYTES NOT NULL", "BYTES NOT NULL"),
            ("DEC", "DECIMAL(10, 0)"),
            ("NUMERIC(5)", "DECIMAL(5, 0)"),
            ("DECIMAL(38, 38)", "DECIMAL(38, 38)"),
            ("INTEGER NULL", "INT"),
            ("DOUBLE PRECISION", "DOUBLE"),
            ("TIME", "TIME(0)"),
            ("TIME(3) WITHOUT TIME ZONE", "TIME(0)"),
            ("TIMESTAMP", "TIMESTAMP(6)"),
            ("TIMESTAMP(3) WITHOUT TIME ZONE NOT NULL", "TIMESTAMP(3) NOT NULL"),
            ("TIMESTAMP(3) WITH LOCAL TIME ZONE", "TIMESTAMP_LTZ(3)"),
            ("TIMESTAMP_LTZ", "TIMESTAMP_LTZ(6)"),
            ("INTERVAL YEAR(4)", "INTERVAL YEAR TO MONTH"),
            ("INTERVAL DAY(2) TO SECOND(3)", "INTERVAL DAY TO SECOND(3)"),
            ("INT ARRAY NOT NULL", "ARRAY<INT> NOT NULL"),
            ("INT NOT NULL ARRAY MULTISET", "MULTISET<ARRAY<INT NOT NULL>>"),
            (
                "MAP<STRING NOT NULL, ARRAY<ARRAY<INT>>>",
                "MAP<STRING NOT NULL, ARRAY<ARRAY<INT>>>",
            ),
            (
                "ROW<a INT, `b c` ROW<d STRING NOT NULL 'a comment'>>",
                "ROW<`a` INT, `b c` ROW<`d` STRING NOT NULL>>",
            ),
            ("ROW(a INT, b STRING)", "ROW<`a` INT, `b` STRING>"),
            ("ROW<>", "ROW<>"),
        ] {
            let parsed = parse_text(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(parsed.to_string(), shown, "{text}");
            let again = parse_text(&parsed.to_string()).unwrap_or_else(|e| panic!("{parsed}: {e:?}"));
            assert_eq!(again, parsed, "{text}");
        }
    }

    #[test]
    fn what_is_no_type() {
        for text in [
            "CHAR(0)",
            "DECIMAL(39)",
            "DECIMAL(3, 4)",
            "TIMESTAMP(10)",
            "TIMESTAMP WITH TIME ZONE",
            "INTERVAL YEAR TO DAY",
            "ARRAY",
            "ARRAY<INT",
            "MAP<INT>",
            "ROW<a INT, a INT>",
            "RAW('x', 'y')",
            "STRNG",
            "INT INT",
            "",
        ] {
            assert!(parse_text(text).is_err(), "{text}");
        }
    }
}
