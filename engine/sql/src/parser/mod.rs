//! From a script's text to its statements.
//!
//! Expressions and queries are read by sqlparser in Flink's `dialect`; statements, DDL and types
//! are Flink's own and are read here. What Flink has and Millrace has not is refused by its name.

pub(crate) mod cursor;
mod ddl;
pub(crate) mod dialect;
mod hints;
pub(crate) mod json;
mod refused;
pub(crate) mod source;
pub(crate) mod statement;
pub(crate) mod tokens;
pub(crate) mod types;

use sqlparser::ast::Query;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::error::{Result, SqlError};
use cursor::{accept, at_words, expect, expect_token, expected, here, identifier, join, string};
use source::Source;
use statement::{Details, Insert, Name, Parsed, Pattern, Show, Statement};

/// How deep expressions and queries may be nested.
const RECURSION_LIMIT: usize = 128;

/// How many operators a statement may have: a chain of them is a tree as deep as it is long.
const MAX_OPERATORS: usize = 50_000;

/// All statements of a script.
pub(crate) fn parse(tokens: tokens::Tokens) -> Result<Vec<Parsed>> {
    refused::anywhere(&tokens.tokens)?;
    limit_operators(&tokens.tokens)?;
    let source = tokens.source;
    let mut parser = Parser::new(&dialect::Flink)
        .with_recursion_limit(RECURSION_LIMIT)
        .with_tokens_with_locations(tokens.tokens);
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        let start = here(&parser);
        let statement = statement(&mut parser, &source)?;
        let span = join(start, last(&parser));
        end_of_statement(&parser)?;
        statements.push(Parsed { statement, span });
    }
}

fn limit_operators(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut count = 0;
    for token in tokens {
        match &token.token {
            Token::SemiColon => count = 0,
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat => {
                count += 1
            }
            Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => count += 1,
            Token::Period | Token::LBracket => count += 1,
            Token::Word(w) if w.quote_style.is_none() => {
                const WORDS: &[&str] = &[
                    "AND",
                    "OR",
                    "UNION",
                    "EXCEPT",
                    "INTERSECT",
                    "IS",
                    "IN",
                    "LIKE",
                    "NOT",
                ];
                count += usize::from(WORDS.iter().any(|word| w.value.eq_ignore_ascii_case(word)));
            }
            _ => {}
        }
        if count > MAX_OPERATORS {
            return Err(SqlError::new("the statement is too long", token.span)
                .with_hint(format!("it may have {MAX_OPERATORS} operators at most")));
        }
    }
    Ok(())
}

fn end_of_statement(parser: &Parser) -> Result<()> {
    match parser.peek_token_ref().token {
        Token::SemiColon | Token::EOF => Ok(()),
        _ => Err(refused::clause(parser).unwrap_or_else(|| expected(parser, "';'"))),
    }
}

/// The place of the token that was read last.
fn last(parser: &Parser) -> Span {
    parser.get_current_token().span
}

fn statement(parser: &mut Parser, source: &Source) -> Result<Statement> {
    if at_words(parser, &["CREATE"]) {
        return create(parser, source);
    }
    if at_words(parser, &["DROP"]) {
        return drop(parser);
    }
    if accept(parser, &["EXECUTE", "STATEMENT", "SET", "BEGIN"]) {
        return Ok(Statement::InsertSet(statement_set(parser)?));
    }
    if accept(parser, &["BEGIN", "STATEMENT", "SET"]) {
        expect_token(parser, &Token::SemiColon)?;
        return Ok(Statement::InsertSet(statement_set(parser)?));
    }
    if at_words(parser, &["EXECUTE", "INSERT"]) {
        parser.advance_token();
    }
    if at_words(parser, &["INSERT"]) {
        return Ok(Statement::Insert(Box::new(insert(parser)?)));
    }
    if accept(parser, &["EXPLAIN"]) {
        return explain(parser);
    }
    if at_words(parser, &["SHOW"]) {
        return show(parser);
    }
    if at_words(parser, &["DESCRIBE"]) || at_words(parser, &["DESC"]) {
        refused::statement(parser)?;
        parser.advance_token();
        accept(parser, &["TABLE"]);
        accept(parser, &["EXTENDED"]);
        return Ok(Statement::Describe(name(parser, "the name of a table")?));
    }
    if accept(parser, &["SET"]) {
        return set(parser, source);
    }
    if accept(parser, &["RESET"]) {
        return Ok(Statement::Reset(match parser.peek_token_ref().token {
            Token::SemiColon | Token::EOF => None,
            Token::SingleQuotedString(_) => Some(string(parser, "a key")?),
            _ => Some(raw(parser, source, "a key")?),
        }));
    }
    if at_words(parser, &["USE"]) {
        return use_path(parser);
    }
    if at_words(parser, &["SELECT"])
        || at_words(parser, &["WITH"])
        || at_words(parser, &["VALUES"])
        || parser.peek_token_ref().token == Token::LParen
    {
        return Err(
            SqlError::unsupported("a query that is not part of an INSERT", here(parser))
                .with_hint("to see its rows, INSERT INTO a table WITH ('connector' = 'print')"),
        );
    }
    refused::statement(parser)?;
    Err(expected(parser, "a statement"))
}

fn create(parser: &mut Parser, source: &Source) -> Result<Statement> {
    refused::statement(parser)?;
    expect(parser, &["CREATE"])?;
    let temporary = accept(parser, &["TEMPORARY"]);
    if accept(parser, &["TABLE"]) {
        return Ok(Statement::CreateTable(Box::new(ddl::create_table(
            parser, source, temporary,
        )?)));
    }
    if accept(parser, &["VIEW"]) {
        return Ok(Statement::CreateView(Box::new(ddl::create_view(
            parser, temporary,
        )?)));
    }
    Err(expected(parser, "TABLE or VIEW"))
}

fn drop(parser: &mut Parser) -> Result<Statement> {
    refused::statement(parser)?;
    expect(parser, &["DROP"])?;
    let temporary = accept(parser, &["TEMPORARY"]);
    let view = accept(parser, &["VIEW"]);
    if !view && !accept(parser, &["TABLE"]) {
        return Err(expected(parser, "TABLE or VIEW"));
    }
    let if_exists = accept(parser, &["IF", "EXISTS"]);
    let name = name(
        parser,
        if view {
            "the name of a view"
        } else {
            "the name of a table"
        },
    )?;
    Ok(Statement::Drop {
        view,
        name,
        if_exists,
        temporary,
    })
}

/// The inserts up to END.
fn statement_set(parser: &mut Parser) -> Result<Vec<Insert>> {
    let mut inserts = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        let at = here(parser);
        if accept(parser, &["END"]) {
            return match inserts.is_empty() {
                true => Err(SqlError::new("the statement set has no statements", at)),
                false => Ok(inserts),
            };
        }
        if !at_words(parser, &["INSERT"]) {
            return Err(expected(
                parser,
                "INSERT or END: a statement set holds INSERT statements only",
            ));
        }
        inserts.push(insert(parser)?);
        if parser.peek_token_ref().token != Token::SemiColon {
            return Err(refused::clause(parser).unwrap_or_else(|| expected(parser, "';'")));
        }
    }
}

fn insert(parser: &mut Parser) -> Result<Insert> {
    refused::statement(parser)?;
    expect(parser, &["INSERT", "INTO"])?;
    accept(parser, &["TABLE"]);
    let table = name(parser, "the name of a table")?;
    if at_words(parser, &["PARTITION"]) {
        return Err(SqlError::unsupported("PARTITION in INSERT", here(parser))
            .with_hint("select the partition's value as a column"));
    }
    let mut columns = Vec::new();
    let opens = parser.peek_token_ref().token == Token::LParen;
    // `INSERT INTO t (SELECT ...)` is a query in parentheses.
    let query_follows = ["SELECT", "VALUES", "WITH"]
        .iter()
        .any(|w| cursor::is_word(&parser.peek_nth_token_ref(1).token, w))
        || parser.peek_nth_token_ref(1).token == Token::LParen;
    if opens && !query_follows {
        columns = types::name_list(parser, "the name of a column")?;
    }
    let (query, query_span) = query(parser)?;
    Ok(Insert {
        table,
        columns,
        query,
        query_span,
    })
}

/// A query with its place.
fn query(parser: &mut Parser) -> Result<(Box<Query>, Span)> {
    let start = here(parser);
    let query = parser.parse_query().map_err(|e| {
        let error = SqlError::from(e);
        match refused::clause(parser) {
            Some(refused) => refused,
            None => error,
        }
    })?;
    Ok((query, join(start, last(parser))))
}

fn explain(parser: &mut Parser) -> Result<Statement> {
    let mut details = Details::default();
    if !accept(parser, &["PLAN", "FOR"]) {
        loop {
            if accept(parser, &["CHANGELOG_MODE"]) {
                details.changelog_mode = true;
            } else if accept(parser, &["JSON_EXECUTION_PLAN"]) {
                details.json = true;
            } else if at_words(parser, &["ESTIMATED_COST"]) || at_words(parser, &["PLAN_ADVICE"]) {
                let what = format!("EXPLAIN {}", parser.peek_token_ref().token).to_uppercase();
                return Err(SqlError::unsupported(what, here(parser)));
            } else {
                break;
            }
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
    }
    if accept(parser, &["STATEMENT", "SET", "BEGIN"])
        || accept(parser, &["EXECUTE", "STATEMENT", "SET", "BEGIN"])
    {
        return Ok(Statement::Explain {
            details,
            inserts: statement_set(parser)?,
        });
    }
    if at_words(parser, &["INSERT"]) {
        return Ok(Statement::Explain {
            details,
            inserts: vec![insert(parser)?],
        });
    }
    if at_words(parser, &["SELECT"])
        || at_words(parser, &["WITH"])
        || at_words(parser, &["VALUES"])
        || parser.peek_token_ref().token == Token::LParen
    {
        return Ok(Statement::ExplainQuery {
            details,
            query: query(parser)?.0,
        });
    }
    refused::statement(parser)?;
    if at_words(parser, &["CREATE", "TABLE"]) {
        return Err(SqlError::unsupported("EXPLAIN CREATE TABLE ... AS", here(parser)));
    }
    Err(expected(parser, "INSERT, a query or STATEMENT SET"))
}

fn show(parser: &mut Parser) -> Result<Statement> {
    refused::statement(parser)?;
    expect(parser, &["SHOW"])?;
    Ok(Statement::Show(if accept(parser, &["TABLES"]) {
        Show::Tables(in_database_like(parser)?)
    } else if accept(parser, &["VIEWS"]) {
        Show::Views(in_database_like(parser)?)
    } else if accept(parser, &["FUNCTIONS"]) {
        Show::Functions(in_database_like(parser)?)
    } else if accept(parser, &["CREATE", "TABLE"]) {
        Show::CreateTable(name(parser, "the name of a table")?)
    } else if accept(parser, &["CREATE", "VIEW"]) {
        Show::CreateView(name(parser, "the name of a view")?)
    } else if accept(parser, &["COLUMNS", "FROM"]) || accept(parser, &["COLUMNS", "IN"]) {
        let table = name(parser, "the name of a table")?;
        if at_words(parser, &["LIKE"]) || at_words(parser, &["NOT", "LIKE"]) {
            return Err(SqlError::unsupported("SHOW COLUMNS ... LIKE", here(parser)));
        }
        Show::Columns(table)
    } else if accept(parser, &["CATALOGS"]) {
        Show::Catalogs
    } else if accept(parser, &["DATABASES"]) {
        Show::Databases
    } else if accept(parser, &["CURRENT", "CATALOG"]) {
        Show::CurrentCatalog
    } else if accept(parser, &["CURRENT", "DATABASE"]) {
        Show::CurrentDatabase
    } else {
        return Err(expected(
            parser,
            "TABLES, VIEWS, FUNCTIONS, COLUMNS, CREATE TABLE, CREATE VIEW, CATALOGS, DATABASES or CURRENT",
        ));
    }))
}

/// `[FROM | IN default_database] [[NOT] LIKE 'pattern']`.
fn in_database_like(parser: &mut Parser) -> Result<Option<Pattern>> {
    if accept(parser, &["FROM"]) || accept(parser, &["IN"]) {
        let database = name(parser, "the name of a database")?;
        check_path(&database.parts, 2)?;
    }
    let negated = accept(parser, &["NOT"]);
    let ignore_case = at_words(parser, &["ILIKE"]);
    if accept(parser, &["LIKE"]) || accept(parser, &["ILIKE"]) {
        let text = string(parser, "a pattern")?;
        return Ok(Some(Pattern {
            text,
            negated,
            ignore_case,
        }));
    }
    if negated {
        Err(expected(parser, "LIKE"))
    } else {
        Ok(None)
    }
}

fn set(parser: &mut Parser, source: &Source) -> Result<Statement> {
    let span = here(parser);
    let key = match parser.peek_token_ref().token {
        Token::SemiColon | Token::EOF => return Ok(Statement::SetAll),
        Token::SingleQuotedString(_) => string(parser, "a key")?,
        _ => raw(parser, source, "a key")?,
    };
    expect_token(parser, &Token::Eq)?;
    let value = match parser.peek_token_ref().token {
        Token::SingleQuotedString(_) => string(parser, "a value")?,
        _ => raw(parser, source, "a value")?,
    };
    Ok(Statement::Set { key, value, span })
}

/// A key or a value without quotes, as older versions of Flink took them: up to `=` or `;`.
fn raw(parser: &mut Parser, source: &Source, what: &str) -> Result<String> {
    let start = here(parser);
    let mut any = false;
    while !matches!(
        parser.peek_token_ref().token,
        Token::Eq | Token::SemiColon | Token::EOF
    ) {
        parser.advance_token();
        any = true;
    }
    match any {
        true => Ok(source.slice(join(start, last(parser))).to_owned()),
        false => Err(expected(parser, what)),
    }
}

fn use_path(parser: &mut Parser) -> Result<Statement> {
    refused::statement(parser)?;
    expect(parser, &["USE"])?;
    if accept(parser, &["CATALOG"]) {
        let catalog = identifier(parser, "the name of a catalog")?;
        if catalog.value != crate::catalog::CATALOG {
            return Err(unknown_path(&catalog));
        }
    } else {
        let database = name(parser, "the name of a database")?;
        check_path(&database.parts, 2)?;
    }
    Ok(Statement::Use)
}

/// A name of one to three parts.
fn name(parser: &mut Parser, what: &str) -> Result<Name> {
    let mut parts = vec![identifier(parser, what)?];
    while parser.consume_token(&Token::Period) {
        parts.push(identifier(parser, what)?);
    }
    let name = Name { parts };
    if name.parts.len() > 3 {
        return Err(SqlError::new(
            "a name has three parts at most: catalog, database and object",
            name.span(),
        ));
    }
    Ok(name)
}

/// Checks the catalog and the database of a path whose parts belong to the first `levels` of
/// catalog, database, object.
pub(crate) fn check_path(parts: &[sqlparser::ast::Ident], levels: usize) -> Result<()> {
    let expected = [crate::catalog::CATALOG, crate::catalog::DATABASE];
    let skip = levels.saturating_sub(parts.len());
    for (part, expected) in parts.iter().zip(expected.iter().skip(skip)) {
        if part.value != *expected {
            return Err(unknown_path(part));
        }
    }
    Ok(())
}

fn unknown_path(part: &sqlparser::ast::Ident) -> SqlError {
    SqlError::new(
        format!("there is no catalog or database '{}'", part.value),
        part.span,
    )
    .with_hint(format!(
        "there is one, `{}`.`{}`: others are not supported yet",
        crate::catalog::CATALOG,
        crate::catalog::DATABASE
    ))
}
