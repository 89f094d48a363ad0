//! Golden files: an expression, its type and its value as Apache Flink 2.1.1 gives them.
//!
//! A line is `expression <tab> type <tab> value`; the value is the text of a cast to STRING in
//! quotes, NULL, or ERROR where evaluation fails. Every expression is computed twice: as it is,
//! where it is folded, and with its literals in the columns of a batch whose second row is null
//! (without that row where arrays, maps and rows have elements that must not be null).
//!
//! Whether a result may be null is not compared: a decimal that may overflow is nullable here and
//! NOT NULL in Flink, which writes an empty value for it.

use millrace_expr::Expr;

use crate::columns::check;
use crate::parser::parse;

fn parsed(sql: &str) -> Result<Expr, String> {
    parse(sql).map_err(|e| e.to_string())
}

#[test]
fn flink_in_utc() {
    check(include_str!("flink-utc.tsv"), "UTC", parsed);
}

#[test]
fn flink_in_new_york() {
    check(include_str!("flink-new-york.tsv"), "America/New_York", parsed);
}
