//! Calls of the JSON functions with their clauses, and IS JSON: as calls of the functions that take
//! clauses as arguments (`millrace_expr`'s names with a dollar).

use sqlparser::ast::{CastKind, Expr, FunctionArg, FunctionArgExpr, Ident, UnaryOperator, Value};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token};

use super::cursor::{accept, at_words, expected, to_parser_error};
use super::dialect::{Flink, flink_type, function};
use crate::error::SqlError;

/// How the name of a call is quoted that nobody can write.
pub(crate) const INTERNAL: char = '[';

type Result<T> = std::result::Result<T, ParserError>;

/// From the name of a JSON function on.
pub(super) fn call(parser: &mut Parser) -> Result<Expr> {
    let token = parser.next_token();
    let name = token.token.to_string().to_uppercase();
    parser.expect_token(&Token::LParen)?;
    let args = match name.as_str() {
        "JSON_OBJECT" => object(parser)?,
        "JSON_ARRAY" => array(parser)?,
        _ => {
            let mut args = vec![parser.parse_expr()?];
            parser.expect_token(&Token::Comma)?;
            args.push(parser.parse_expr()?);
            match name.as_str() {
                "JSON_VALUE" => value(parser, &mut args)?,
                "JSON_QUERY" => query(parser, &mut args)?,
                _ => exists(parser, &mut args)?,
            }
            args
        }
    };
    parser.expect_token(&Token::RParen)?;
    Ok(internal(&format!("${name}"), args, token.span))
}

/// JSON_ARRAYAGG or JSON_OBJECTAGG, from its name on: a call whose first argument says what becomes of
/// nulls.
pub(super) fn aggregate(parser: &mut Parser) -> Result<Expr> {
    let token = parser.next_token();
    let name = token.token.to_string().to_uppercase();
    parser.expect_token(&Token::LParen)?;
    let mut values = Vec::new();
    if name == "JSON_OBJECTAGG" {
        accept(parser, &["KEY"]);
        // `:` is no operator here but ends the key.
        values.push(parser.parse_subexpr(Flink.prec_value(Precedence::Colon))?);
        let ended = accept(parser, &["VALUE"])
            || parser.consume_token(&Token::Colon)
            || parser.consume_token(&Token::Comma);
        if !ended {
            return Err(to_parser_error(expected(parser, "VALUE")));
        }
    }
    values.push(parser.parse_expr()?);
    let otherwise = if name == "JSON_OBJECTAGG" {
        "NULL"
    } else {
        "ABSENT"
    };
    values.insert(0, on_null(parser, otherwise));
    parser.expect_token(&Token::RParen)?;
    if at_words(parser, &["OVER"]) {
        // Of a parser's error nothing but its message is left.
        return Err(to_parser_error(SqlError::new(
            format!(
                "there is no {name} before OVER in Flink SQL: write JSON_STRING(ARRAY_AGG(...) OVER ...)"
            ),
            token.span,
        )));
    }
    let name = Ident {
        value: name,
        quote_style: None,
        span: token.span,
    };
    let args = values
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    Ok(function(name, args.collect()))
}

/// `IS [NOT] JSON [VALUE | OBJECT | ARRAY | SCALAR]` behind an expression.
pub(super) fn is(parser: &mut Parser, expr: &Expr) -> Option<Result<Expr>> {
    let negated = at_words(parser, &["IS", "NOT", "JSON"]);
    if !negated && !at_words(parser, &["IS", "JSON"]) {
        return None;
    }
    let span = parser.peek_token_ref().span;
    for _ in 0..if negated { 3 } else { 2 } {
        parser.advance_token();
    }
    let kind = ["VALUE", "OBJECT", "ARRAY", "SCALAR"]
        .into_iter()
        .find(|kind| accept(parser, &[kind]));
    let name = match kind {
        Some(kind) => format!("IS JSON {kind}"),
        None => "IS JSON".to_owned(),
    };
    let is = internal(&name, vec![expr.clone()], span);
    Some(Ok(match negated {
        true => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(is),
        },
        false => is,
    }))
}

pub(super) fn internal(name: &str, args: Vec<Expr>, span: Span) -> Expr {
    let name = Ident {
        value: name.to_owned(),
        quote_style: Some(INTERNAL),
        span,
    };
    let args = args
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    function(name, args.collect())
}

fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// The type of RETURNING, as a NULL of it.
fn returning(parser: &mut Parser) -> Result<Expr> {
    let string = Ident::new("STRING");
    let data_type = match accept(parser, &["RETURNING"]) {
        true => flink_type(parser)?,
        false => {
            return Ok(Expr::Identifier(Ident {
                quote_style: Some(INTERNAL),
                ..string
            }));
        }
    };
    Ok(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(null()),
        data_type,
        array: false,
        format: None,
    })
}

/// Clauses `behaviour ON EMPTY` and `behaviour ON ERROR`, in any order and once each.
fn behaviours(
    parser: &mut Parser,
    mut behaviour: impl FnMut(&mut Parser) -> Result<Option<Vec<Expr>>>,
    otherwise: &[Expr],
) -> Result<Vec<Expr>> {
    let (mut empty, mut error) = (None, None);
    while let Some(found) = behaviour(parser)? {
        let place = if accept(parser, &["ON", "EMPTY"]) {
            &mut empty
        } else if accept(parser, &["ON", "ERROR"]) {
            &mut error
        } else {
            return Err(to_parser_error(expected(parser, "ON EMPTY or ON ERROR")));
        };
        if place.replace(found).is_some() {
            return Err(to_parser_error(expected(
                parser,
                "each of ON EMPTY and ON ERROR once",
            )));
        }
    }
    let or = |found: Option<Vec<Expr>>| found.unwrap_or_else(|| otherwise.to_vec());
    Ok([or(empty), or(error)].concat())
}

fn value(parser: &mut Parser, args: &mut Vec<Expr>) -> Result<()> {
    args.push(returning(parser)?);
    let behaviour = |parser: &mut Parser| {
        Ok(if accept(parser, &["NULL"]) {
            Some(vec![text("NULL"), null()])
        } else if accept(parser, &["ERROR"]) {
            Some(vec![text("ERROR"), null()])
        } else if accept(parser, &["DEFAULT"]) {
            Some(vec![text("DEFAULT"), parser.parse_expr()?])
        } else {
            None
        })
    };
    args.extend(behaviours(parser, behaviour, &[text("NULL"), null()])?);
    Ok(())
}

fn query(parser: &mut Parser, args: &mut Vec<Expr>) -> Result<()> {
    args.push(returning(parser)?);
    let wrapper = if accept(parser, &["WITHOUT"]) {
        Some("WITHOUT")
    } else if accept(parser, &["WITH", "CONDITIONAL"]) {
        Some("CONDITIONAL")
    } else if accept(parser, &["WITH", "UNCONDITIONAL"]) || accept(parser, &["WITH"]) {
        Some("UNCONDITIONAL")
    } else {
        None
    };
    if wrapper.is_some() {
        accept(parser, &["ARRAY"]);
        if !accept(parser, &["WRAPPER"]) {
            return Err(to_parser_error(expected(parser, "WRAPPER")));
        }
    }
    args.push(text(wrapper.unwrap_or("WITHOUT")));
    let behaviour = |parser: &mut Parser| {
        let known = ["NULL", "ERROR", "EMPTY ARRAY", "EMPTY OBJECT"];
        let found = known.into_iter().find(|words| {
            let words: Vec<&str> = words.split(' ').collect();
            accept(parser, &words)
        });
        Ok(found.map(|found| vec![text(found)]))
    };
    args.extend(behaviours(parser, behaviour, &[text("NULL")])?);
    Ok(())
}

fn exists(parser: &mut Parser, args: &mut Vec<Expr>) -> Result<()> {
    let known = ["TRUE", "FALSE", "UNKNOWN", "ERROR"];
    let found = known.into_iter().find(|word| accept(parser, &[word]));
    if found.is_some() && !accept(parser, &["ON", "ERROR"]) {
        return Err(to_parser_error(expected(parser, "ON ERROR")));
    }
    args.push(text(found.unwrap_or("FALSE")));
    Ok(())
}

/// `NULL ON NULL` or `ABSENT ON NULL`.
fn on_null(parser: &mut Parser, otherwise: &str) -> Expr {
    if accept(parser, &["NULL", "ON", "NULL"]) {
        text("NULL")
    } else if accept(parser, &["ABSENT", "ON", "NULL"]) {
        text("ABSENT")
    } else {
        text(otherwise)
    }
}

fn at_end(parser: &Parser) -> bool {
    parser.peek_token_ref().token == Token::RParen
        || at_words(parser, &["NULL", "ON", "NULL"])
        || at_words(parser, &["ABSENT", "ON", "NULL"])
}

fn object(parser: &mut Parser) -> Result<Vec<Expr>> {
    let mut members = Vec::new();
    if !at_end(parser) {
        loop {
            accept(parser, &["KEY"]);
            // `:` is no operator here but ends the key.
            members.push(parser.parse_subexpr(Flink.prec_value(Precedence::Colon))?);
            if !accept(parser, &["VALUE"]) && !parser.consume_token(&Token::Colon) {
                return Err(to_parser_error(expected(parser, "VALUE")));
            }
            members.push(parser.parse_expr()?);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
    }
    let mut args = vec![on_null(parser, "NULL")];
    args.append(&mut members);
    Ok(args)
}

fn array(parser: &mut Parser) -> Result<Vec<Expr>> {
    let mut elements = Vec::new();
    if !at_end(parser) {
        loop {
            elements.push(parser.parse_expr()?);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
    }
    let mut args = vec![on_null(parser, "ABSENT")];
    args.append(&mut elements);
    Ok(args)
}
