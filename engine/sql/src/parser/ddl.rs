//! CREATE TABLE and CREATE VIEW.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use super::cursor::{
    accept, at_words, expect, expect_token, expected, here, identifier, is_word, join, string,
};
use super::source::Source;
use super::statement::{
    Column, ColumnKind, CreateTable, CreateView, Feature, Like, LikeOption, PrimaryKey, Strategy, TableBody,
    Watermark, Written,
};
use super::types::{self, name_list, not_enforced};
use super::{last, name, query};
use crate::error::{Result, SqlError};

/// Behind `CREATE [TEMPORARY] TABLE`.
pub(super) fn create_table(parser: &mut Parser, source: &Source, temporary: bool) -> Result<CreateTable> {
    let if_not_exists = accept(parser, &["IF", "NOT", "EXISTS"]);
    let name = name(parser, "the name of a table")?;
    let mut body = TableBody::default();
    if parser.consume_token(&Token::LParen) {
        loop {
            element(parser, source, &mut body)?;
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        expect_token(parser, &Token::RParen)?;
    }
    if accept(parser, &["COMMENT"]) {
        body.comment = Some(string(parser, "the text of the comment")?);
    }
    if at_words(parser, &["DISTRIBUTED"]) {
        return Err(SqlError::unsupported("DISTRIBUTED BY", here(parser)));
    }
    if accept(parser, &["PARTITIONED", "BY"]) {
        body.partitioned_by = name_list(parser, "the name of a column")?;
    }
    if accept(parser, &["WITH"]) {
        body.options = options(parser)?;
    }
    let mut like = None;
    if accept(parser, &["LIKE"]) {
        let table = super::name(parser, "the name of a table")?;
        let mut options = Vec::new();
        if parser.consume_token(&Token::LParen) {
            while !parser.consume_token(&Token::RParen) {
                options.push(like_option(parser)?);
            }
        }
        like = Some(Like { table, options });
    }
    if at_words(parser, &["AS"]) {
        return Err(SqlError::unsupported("CREATE TABLE ... AS", here(parser))
            .with_hint("create the table, then INSERT INTO it"));
    }
    Ok(CreateTable {
        name,
        temporary,
        if_not_exists,
        body,
        like,
    })
}

fn element(parser: &mut Parser, source: &Source, body: &mut TableBody) -> Result<()> {
    let start = here(parser);
    if accept(parser, &["WATERMARK", "FOR"]) {
        let mut column = vec![identifier(parser, "the name of a column")?];
        while parser.consume_token(&Token::Period) {
            column.push(identifier(parser, "the name of a field")?);
        }
        expect(parser, &["AS"])?;
        let expression = written(parser, source)?;
        body.watermarks.push(Watermark {
            column,
            expression,
            span: start,
        });
        return Ok(());
    }
    if accept(parser, &["CONSTRAINT"]) {
        identifier(parser, "the name of the constraint")?;
        if !at_words(parser, &["PRIMARY"]) && !at_words(parser, &["UNIQUE"]) {
            return Err(expected(parser, "PRIMARY KEY"));
        }
    }
    if at_words(parser, &["UNIQUE"]) && !matches!(parser.peek_nth_token_ref(1).token, Token::Word(_)) {
        return Err(SqlError::unsupported("the UNIQUE constraint", here(parser)));
    }
    if accept(parser, &["PRIMARY", "KEY"]) {
        let columns = name_list(parser, "the name of a column")?;
        not_enforced(parser)?;
        body.primary_keys.push(PrimaryKey { columns, span: start });
        return Ok(());
    }
    let name = identifier(parser, "the name of a column, WATERMARK or PRIMARY KEY")?;
    let kind = if accept(parser, &["AS"]) {
        ColumnKind::Computed(Box::new(written(parser, source)?))
    } else {
        let data_type = types::parse(parser)?;
        if accept(parser, &["METADATA"]) {
            let key = match accept(parser, &["FROM"]) {
                true => Some(string(parser, "the metadata's key")?),
                false => None,
            };
            let is_virtual = accept(parser, &["VIRTUAL"]);
            ColumnKind::Metadata {
                data_type,
                key,
                is_virtual,
            }
        } else {
            let at = here(parser);
            if accept(parser, &["CONSTRAINT"]) {
                identifier(parser, "the name of the constraint")?;
                if !at_words(parser, &["PRIMARY"]) && !at_words(parser, &["UNIQUE"]) {
                    return Err(expected(parser, "PRIMARY KEY"));
                }
            }
            if at_words(parser, &["UNIQUE"]) {
                return Err(SqlError::unsupported("the UNIQUE constraint", here(parser)));
            }
            if accept(parser, &["PRIMARY", "KEY"]) {
                not_enforced(parser)?;
                body.primary_keys.push(PrimaryKey {
                    columns: vec![name.clone()],
                    span: at,
                });
            }
            ColumnKind::Physical(data_type)
        }
    };
    for word in ["DEFAULT", "CHECK", "REFERENCES", "COLLATE", "GENERATED"] {
        if at_words(parser, &[word]) {
            return Err(SqlError::new(
                format!("a column of Flink has no {word}"),
                here(parser),
            ));
        }
    }
    let comment = match accept(parser, &["COMMENT"]) {
        true => Some(string(parser, "the text of the comment")?),
        false => None,
    };
    body.columns.push(Column { name, kind, comment });
    Ok(())
}

/// An expression with its text and place.
fn written(parser: &mut Parser, source: &Source) -> Result<Written> {
    let start = here(parser);
    let expr = parser.parse_expr()?;
    let span = join(start, last(parser));
    Ok(Written {
        expr,
        text: source.slice(span).to_owned(),
        span,
    })
}

/// `('key' = 'value', ...)`.
pub(super) fn options(parser: &mut Parser) -> Result<Vec<(String, String, Span)>> {
    expect_token(parser, &Token::LParen)?;
    let mut options: Vec<(String, String, Span)> = Vec::new();
    if parser.consume_token(&Token::RParen) {
        return Ok(options);
    }
    loop {
        let at = here(parser);
        let key = string(parser, "an option's key in single quotes")?;
        expect_token(parser, &Token::Eq)?;
        let value = string(parser, "an option's value in single quotes")?;
        if options.iter().any(|(k, _, _)| *k == key) {
            return Err(SqlError::new(format!("the option '{key}' is given twice"), at));
        }
        options.push((key, value, at));
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    expect_token(parser, &Token::RParen)?;
    Ok(options)
}

fn like_option(parser: &mut Parser) -> Result<LikeOption> {
    const STRATEGIES: &[(&str, Strategy)] = &[
        ("INCLUDING", Strategy::Including),
        ("EXCLUDING", Strategy::Excluding),
        ("OVERWRITING", Strategy::Overwriting),
    ];
    const FEATURES: &[(&str, Feature)] = &[
        ("ALL", Feature::All),
        ("CONSTRAINTS", Feature::Constraints),
        ("GENERATED", Feature::Generated),
        ("METADATA", Feature::Metadata),
        ("OPTIONS", Feature::Options),
        ("PARTITIONS", Feature::Partitions),
        ("WATERMARKS", Feature::Watermarks),
    ];
    let span = here(parser);
    let token = &parser.peek_token_ref().token;
    let Some((_, strategy)) = STRATEGIES.iter().find(|(word, _)| is_word(token, word)) else {
        return Err(expected(parser, "INCLUDING, EXCLUDING, OVERWRITING or ')'"));
    };
    parser.advance_token();
    if at_words(parser, &["DISTRIBUTION"]) {
        return Err(SqlError::unsupported("DISTRIBUTION", here(parser)));
    }
    let token = &parser.peek_token_ref().token;
    let Some((_, feature)) = FEATURES.iter().find(|(word, _)| is_word(token, word)) else {
        return Err(expected(
            parser,
            "ALL, CONSTRAINTS, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS",
        ));
    };
    let overwritable = matches!(
        feature,
        Feature::Generated | Feature::Metadata | Feature::Options | Feature::Watermarks
    );
    if *strategy == Strategy::Overwriting && !overwritable {
        return Err(SqlError::new(
            "only GENERATED, METADATA, OPTIONS and WATERMARKS can be overwritten",
            here(parser),
        ));
    }
    parser.advance_token();
    Ok(LikeOption {
        strategy: *strategy,
        feature: *feature,
        span,
    })
}

/// Behind `CREATE [TEMPORARY] VIEW`.
pub(super) fn create_view(parser: &mut Parser, temporary: bool) -> Result<CreateView> {
    let if_not_exists = accept(parser, &["IF", "NOT", "EXISTS"]);
    let name = name(parser, "the name of a view")?;
    let columns = match parser.peek_token_ref().token {
        Token::LParen => name_list(parser, "the name of a column")?,
        _ => Vec::new(),
    };
    let comment = match accept(parser, &["COMMENT"]) {
        true => Some(string(parser, "the text of the comment")?),
        false => None,
    };
    expect(parser, &["AS"])?;
    let (query, query_span) = query(parser)?;
    Ok(CreateView {
        name,
        temporary,
        if_not_exists,
        columns,
        comment,
        query,
        query_span,
    })
}
