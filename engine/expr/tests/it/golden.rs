//! Golden files: an expression, its type and its value as Apache Flink 2.1.1 gives them.
//!
//! A line is `expression <tab> type <tab> value`; the value is the text of a cast to STRING in
//! quotes, NULL, or ERROR where evaluation fails. Every expression is computed twice: as it is,
//! where it is folded, and with its literals in the columns of a batch whose second row is null
//! (without that row where arrays, maps and rows have elements that must not be null).
//!
//! Whether a result may be null is not compared: a decimal that may overflow is nullable here and
//! NOT NULL in Flink, which writes an empty value for it.

use millrace_expr::compile::Session;
use millrace_expr::text;

use crate::columns::{judge, lines};
use crate::parser::parse;

fn check(golden: &str, zone: &str) {
    let session = Session {
        time_zone: text::zone::parse(zone).unwrap(),
    };
    let mut failures = Vec::new();
    let mut checked = 0;
    for (sql, data_type, value) in lines(golden) {
        checked += 1;
        match parse(sql) {
            Ok(expr) => failures.extend(judge(sql, &expr, data_type, value, &session)),
            Err(_) if data_type == "REFUSED" => {}
            Err(error) => failures.push(format!("{sql}: {}", error.to_string().replace('\n', " "))),
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {checked}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn flink_in_utc() {
    check(include_str!("flink-utc.tsv"), "UTC");
}

#[test]
fn flink_in_new_york() {
    check(include_str!("flink-new-york.tsv"), "America/New_York");
}
