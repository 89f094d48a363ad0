//! What is valid Flink SQL and not built, found by its words.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::{at_words, here, is_word};
use crate::error::{Result, SqlError};

/// Statements by their first words, longest first where one begins another.
const STATEMENTS: &[&str] = &[
    "CREATE OR REPLACE TEMPORARY TABLE",
    "CREATE OR REPLACE TABLE",
    "CREATE OR REPLACE VIEW",
    "CREATE OR ALTER MATERIALIZED TABLE",
    "CREATE OR ALTER",
    "CREATE OR REPLACE",
    "CREATE TEMPORARY SYSTEM FUNCTION",
    "CREATE TEMPORARY FUNCTION",
    "CREATE TEMPORARY MODEL",
    "CREATE FUNCTION",
    "CREATE CATALOG",
    "CREATE DATABASE",
    "CREATE MATERIALIZED TABLE",
    "CREATE MODEL",
    "CREATE CONNECTION",
    "DROP TEMPORARY SYSTEM FUNCTION",
    "DROP TEMPORARY FUNCTION",
    "DROP TEMPORARY MODEL",
    "DROP FUNCTION",
    "DROP CATALOG",
    "DROP DATABASE",
    "DROP MATERIALIZED TABLE",
    "DROP MODEL",
    "DROP CONNECTION",
    "ALTER TABLE",
    "ALTER VIEW",
    "ALTER DATABASE",
    "ALTER FUNCTION",
    "ALTER CATALOG",
    "ALTER MATERIALIZED TABLE",
    "ALTER MODEL",
    "ALTER TEMPORARY",
    "REPLACE TABLE",
    "INSERT OVERWRITE",
    "UPDATE",
    "DELETE",
    "MERGE",
    "TRUNCATE TABLE",
    "ANALYZE TABLE",
    "CALL",
    "LOAD MODULE",
    "UNLOAD MODULE",
    "USE MODULES",
    "ADD JAR",
    "REMOVE JAR",
    "SHOW JARS",
    "SHOW JOBS",
    "SHOW MODULES",
    "SHOW FULL MODULES",
    "SHOW USER FUNCTIONS",
    "SHOW PARTITIONS",
    "SHOW PROCEDURES",
    "SHOW MODELS",
    "SHOW MATERIALIZED TABLES",
    "SHOW CREATE CATALOG",
    "SHOW CREATE MODEL",
    "SHOW CREATE MATERIALIZED TABLE",
    "SHOW CREATE DATABASE",
    "SHOW CURRENT MODULE",
    "DESCRIBE JOB",
    "DESCRIBE CATALOG",
    "DESCRIBE DATABASE",
    "DESCRIBE FUNCTION",
    "DESCRIBE MODEL",
    "DESC JOB",
    "DESC CATALOG",
    "DESC DATABASE",
    "DESC FUNCTION",
    "DESC MODEL",
    "STOP JOB",
    "COMPILE AND EXECUTE PLAN",
    "COMPILE PLAN",
    "EXECUTE PLAN",
    "EXECUTE",
    "SOURCE",
    "QUIT",
    "EXIT",
    "CLEAR",
    "HELP",
];

/// Refuses the statement at hand if it is one of those above.
pub(super) fn statement(parser: &Parser) -> Result<()> {
    for text in STATEMENTS {
        let words: Vec<&str> = text.split(' ').collect();
        if at_words(parser, &words) {
            let error = SqlError::unsupported(text, here(parser));
            return Err(match *text {
                "CREATE DATABASE" | "CREATE CATALOG" => {
                    error.with_hint("tables live in `default_catalog`.`default_database`")
                }
                "INSERT OVERWRITE" => error.with_hint("Flink has it for batch jobs only"),
                "ADD JAR" => error.with_hint("connectors and formats are part of the binary"),
                _ => error,
            });
        }
    }
    Ok(())
}

/// Clauses that sqlparser does not know, or knows otherwise, by what stands in a row.
const PHRASES: &[(&[&str], &str)] = &[
    (
        &["FOR", "SYSTEM_TIME"],
        "FOR SYSTEM_TIME AS OF (temporal joins and time travel)",
    ),
    (&["BETWEEN", "SYMMETRIC"], "BETWEEN SYMMETRIC"),
    (&["BETWEEN", "ASYMMETRIC"], "BETWEEN ASYMMETRIC"),
    (&["MATCH_RECOGNIZE"], "MATCH_RECOGNIZE"),
    (&["TABLESAMPLE"], "TABLESAMPLE"),
    (&["LATERAL"], "LATERAL"),
    (&["UNNEST"], "UNNEST"),
    (&["NATURAL", "JOIN"], "NATURAL JOIN"),
    (&["WITHIN", "GROUP"], "WITHIN GROUP"),
];

/// Refuses what can be told from the tokens alone, wherever it stands.
pub(super) fn anywhere(tokens: &[TokenWithSpan]) -> Result<()> {
    for (i, token) in tokens.iter().enumerate() {
        let Token::Word(word) = &token.token else { continue };
        if word.quote_style.is_some() {
            continue;
        }
        let next = |n: usize| tokens.get(i + n).map(|t| &t.token);
        // A name after a dot or before one is no keyword.
        let is_name = i > 0 && tokens[i - 1].token == Token::Period || next(1) == Some(&Token::Period);
        if is_name {
            continue;
        }
        for (words, what) in PHRASES {
            let found = words
                .iter()
                .enumerate()
                .all(|(n, w)| next(n).is_some_and(|t| is_word(t, w)));
            // One word alone may be the name of a column: only with what follows it is a clause.
            let opens =
                || matches!(next(1), Some(Token::LParen)) || next(1).is_some_and(|t| is_word(t, "TABLE"));
            if found && (words.len() > 1 || opens()) {
                let error = SqlError::unsupported(what, token.span);
                return Err(match *what {
                    "BETWEEN SYMMETRIC" => error.with_hint("write BETWEEN LEAST(a, b) AND GREATEST(a, b)"),
                    "BETWEEN ASYMMETRIC" => error.with_hint("that is BETWEEN alone"),
                    "UNNEST" | "LATERAL" => {
                        error.with_hint("single elements of an ARRAY or MAP are read as a[1], m['key']")
                    }
                    "NATURAL JOIN" => error.with_hint("write JOIN ... ON with the columns"),
                    _ => error,
                });
            }
        }
        // `FROM f(TABLE t, ...)`, `FROM f(data => TABLE t)`: the same without TABLE(...) around it.
        let of_a_table = |n: usize| next(n).is_some_and(|t| is_word(t, "TABLE"));
        let takes_a_table = next(1) == Some(&Token::LParen)
            && !is_word(&token.token, "TABLE")
            && (of_a_table(2) || (next(3) == Some(&Token::RArrow) && of_a_table(4)));
        if takes_a_table && !is_window(&word.value) {
            return Err(SqlError::unsupported(table_function(&word.value), token.span));
        }
        // `FROM TABLE(f(...))`: a process table function.
        if is_word(&token.token, "TABLE")
            && next(1) == Some(&Token::LParen)
            && let Some(Token::Word(function)) = next(2)
            && !is_window(&function.value)
        {
            return Err(SqlError::unsupported(table_function(&function.value), token.span));
        }
    }
    Ok(())
}

/// Window functions over tables are parsed.
fn is_window(name: &str) -> bool {
    ["TUMBLE", "HOP", "CUMULATE", "SESSION"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

fn table_function(name: &str) -> String {
    format!("the table function {}", name.to_uppercase())
}

/// What stopped the parser, if it is a clause of Flink.
pub(super) fn clause(parser: &Parser) -> Option<SqlError> {
    const WORDS: &[&str] = &[
        "RETURNING",
        "UESCAPE",
        "QUALIFY",
        "PIVOT",
        "UNPIVOT",
        "OVERLAPS",
        "PRECEDES",
        "SUCCEEDS",
        "CONTAINS",
        "SUBMULTISET",
    ];
    let token = &parser.peek_token_ref().token;
    WORDS
        .iter()
        .find(|w| is_word(token, w))
        .map(|w| SqlError::unsupported(w, here(parser)))
}
