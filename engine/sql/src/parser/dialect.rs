//! Flink's dialect for sqlparser: its quoting, its precedences, and the expressions that
//! sqlparser does not know or reads otherwise.

use sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName,
};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::{cursor, json, types};

/// The name of the type that carries one of Flink's types through sqlparser's tree, as JSON in
/// its only modifier. Nobody can write it: it is no identifier.
pub(crate) const FLINK_TYPE: &str = "$flink";

/// What a table as an argument becomes.
pub(crate) const TABLE_ARGUMENT: &str = "$TABLE";

#[derive(Debug)]
pub(crate) struct Flink;

impl Dialect for Flink {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('`')
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_boolean_literals(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    /// Calcite's reserved words that begin an expression: a name only in backquotes.
    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        matches!(
            kw,
            Keyword::ARRAY
                | Keyword::CASE
                | Keyword::CAST
                | Keyword::CEIL
                | Keyword::CONVERT
                | Keyword::EXISTS
                | Keyword::EXTRACT
                | Keyword::FALSE
                | Keyword::FLOOR
                | Keyword::FROM
                | Keyword::INTERVAL
                | Keyword::NOT
                | Keyword::NULL
                | Keyword::OVERLAY
                | Keyword::POSITION
                | Keyword::SELECT
                | Keyword::SUBSTRING
                | Keyword::TRIM
                | Keyword::TRUE
                | Keyword::TRY_CAST
                | Keyword::WHERE
        )
    }

    /// Calcite's order: BETWEEN, IN and LIKE bind more than comparisons, those more than IS.
    fn prec_value(&self, prec: Precedence) -> u8 {
        match prec {
            Precedence::Period => 100,
            Precedence::DoubleColon => 50,
            Precedence::AtTz => 41,
            Precedence::MulDivModOp => 40,
            Precedence::PlusMinus => 30,
            Precedence::Xor => 27,
            Precedence::Ampersand => 26,
            Precedence::Caret => 25,
            Precedence::Pipe | Precedence::Colon => 24,
            Precedence::Between | Precedence::Like => 22,
            Precedence::Eq => 20,
            Precedence::Is => 17,
            Precedence::PgOther => 16,
            Precedence::UnaryNot => 15,
            Precedence::And => 10,
            Precedence::Or => 5,
        }
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let is_table = cursor::at_words(parser, &["TABLE"]);
        if is_table && matches!(parser.peek_nth_token_ref(1).token, Token::Word(_)) {
            return Some(table(parser));
        }
        let opening = match &parser.peek_nth_token_ref(1).token {
            Token::LParen => '(',
            Token::LBracket => '[',
            _ => return None,
        };
        let token = parser.peek_token_ref();
        let Token::Word(word) = &token.token else {
            return None;
        };
        if word.quote_style.is_some() {
            return None;
        }
        match (word.value.to_ascii_uppercase().as_str(), opening) {
            ("CAST", '(') => Some(cast(parser, CastKind::Cast)),
            ("TRY_CAST", '(') => Some(cast(parser, CastKind::TryCast)),
            ("MAP", '[') => Some(bracketed(parser, "MAP")),
            ("ARRAY", '[') => Some(bracketed(parser, "ARRAY")),
            // A plain function: sqlparser would read ROW as a type or FLOOR's arguments otherwise.
            ("ROW", '(') => Some(row(parser)),
            ("JSON_VALUE" | "JSON_QUERY" | "JSON_EXISTS" | "JSON_OBJECT" | "JSON_ARRAY", '(') => {
                Some(json::call(parser))
            }
            ("JSON_ARRAYAGG" | "JSON_OBJECTAGG", '(') => Some(json::aggregate(parser)),
            _ => None,
        }
    }

    /// `IS [NOT] DISTINCT FROM`, of which sqlparser takes all that follows for its right side, and
    /// `IS [NOT] JSON`.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let negated = if cursor::at_words(parser, &["IS", "DISTINCT", "FROM"]) {
            false
        } else if cursor::at_words(parser, &["IS", "NOT", "DISTINCT", "FROM"]) {
            true
        } else {
            return json::is(parser, expr);
        };
        for _ in 0..if negated { 4 } else { 3 } {
            parser.advance_token();
        }
        let left = Box::new(expr.clone());
        Some(parser.parse_subexpr(precedence).map(|right| match negated {
            true => Expr::IsNotDistinctFrom(left, Box::new(right)),
            false => Expr::IsDistinctFrom(left, Box::new(right)),
        }))
    }
}

fn cast(parser: &mut Parser, kind: CastKind) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let expr = parser.parse_expr()?;
    parser.expect_keyword_is(Keyword::AS)?;
    let data_type = flink_type(parser)?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Cast {
        kind,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    })
}

/// A type of Flink in sqlparser's tree.
pub(super) fn flink_type(parser: &mut Parser) -> Result<DataType, ParserError> {
    let parsed = types::parse_bare(parser).map_err(cursor::to_parser_error)?;
    let json = serde_json::to_string(&parsed)
        .map_err(|e| ParserError::ParserError(format!("a type cannot be carried on: {e}")))?;
    Ok(DataType::Custom(
        ObjectName::from(vec![Ident::new(FLINK_TYPE)]),
        vec![json],
    ))
}

fn bracketed(parser: &mut Parser, name: &str) -> Result<Expr, ParserError> {
    arguments(parser, name, Token::LBracket, Token::RBracket)
}

/// `TABLE name [PARTITION BY column | PARTITION BY (a, b)]` among the arguments of a table function,
/// as a call of `TABLE_ARGUMENT` with the name and the columns.
fn table(parser: &mut Parser) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    let mut args = vec![path(parser)?];
    if cursor::accept(parser, &["PARTITION", "BY"]) {
        match parser.consume_token(&Token::LParen) {
            true => {
                loop {
                    args.push(path(parser)?);
                    if !parser.consume_token(&Token::Comma) {
                        break;
                    }
                }
                parser.expect_token(&Token::RParen)?;
            }
            false => args.push(path(parser)?),
        }
    }
    Ok(json::internal(TABLE_ARGUMENT, args, span))
}

/// The name of a table or a column.
fn path(parser: &mut Parser) -> Result<Expr, ParserError> {
    let mut parts = vec![parser.parse_identifier()?];
    while parser.consume_token(&Token::Period) {
        parts.push(parser.parse_identifier()?);
    }
    Ok(Expr::CompoundIdentifier(parts))
}

fn row(parser: &mut Parser) -> Result<Expr, ParserError> {
    arguments(parser, "ROW", Token::LParen, Token::RParen)
}

/// `NAME[a, b]` or `ROW(a, b)` as a function of its elements.
fn arguments(parser: &mut Parser, name: &str, open: Token, close: Token) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    parser.expect_token(&open)?;
    let mut args = Vec::new();
    if !parser.consume_token(&close) {
        loop {
            args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(parser.parse_expr()?)));
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&close)?;
    }
    let name = Ident {
        value: name.to_owned(),
        quote_style: None,
        span,
    };
    Ok(function(name, args))
}

/// A call as sqlparser's tree has it.
pub(super) fn function(name: Ident, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
