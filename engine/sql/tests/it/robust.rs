//! No text makes the planner panic.

use proptest::prelude::*;

use crate::fixtures::with_tables;

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "INSERT",
    "INTO",
    "late",
    "flights",
    "carrier",
    "delay",
    "id",
    "tags",
    "plane",
    "CREATE",
    "TABLE",
    "VIEW",
    "TEMPORARY",
    "IF",
    "NOT",
    "EXISTS",
    "WATERMARK",
    "FOR",
    "AS",
    "PRIMARY",
    "KEY",
    "ENFORCED",
    "WITH",
    "LIKE",
    "INCLUDING",
    "ALL",
    "METADATA",
    "VIRTUAL",
    "COMMENT",
    "PARTITIONED",
    "BY",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    ">>",
    "<>",
    ",",
    ";",
    ".",
    "*",
    "+",
    "-",
    "/",
    "%",
    "=",
    "||",
    "'text'",
    "'topic'",
    "'connector'",
    "'test'",
    "1",
    "2.5",
    "1e3",
    "INT",
    "STRING",
    "ROW",
    "MAP",
    "ARRAY",
    "DECIMAL",
    "TIMESTAMP",
    "INTERVAL",
    "DAY",
    "SECOND",
    "TO",
    "YEAR",
    "DATE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "TRY_CAST",
    "IS",
    "NULL",
    "DISTINCT",
    "TRUE",
    "AND",
    "OR",
    "BETWEEN",
    "IN",
    "UNION",
    "VALUES",
    "EXTRACT",
    "TRIM",
    "LEADING",
    "OVERLAY",
    "PLACING",
    "POSITION",
    "SUBSTRING",
    "FLOOR",
    "CEIL",
    "EXPLAIN",
    "PLAN",
    "SHOW",
    "TABLES",
    "DESCRIBE",
    "SET",
    "RESET",
    "BEGIN",
    "STATEMENT",
    "EXECUTE",
    "DROP",
    "USE",
    "/*+ OPTIONS('a'='b') */",
    "/*+",
    "*/",
    "--",
    "\n",
    "`a b`",
    "`",
    "'",
    "\"",
    "U&'\\0041'",
    "X'4142'",
    "X'4'",
    "ä",
    "\u{0}",
    "CURRENT_TIMESTAMP",
    "UPPER",
    "COALESCE",
    "ON",
    "JOIN",
    "ESCAPE",
    "SIMILAR",
    "OVER",
    "GROUP",
    "ORDER",
    "LIMIT",
    "@",
    "$",
    "{",
    "}",
    "::",
    ":",
    "?",
    "!",
    "~",
    "&",
    "|",
    "^",
    "#",
    "9999999999999999999999999999999999999999",
    "1.",
    ".5",
];

fn soup() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(WORDS), 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn soups_of_tokens(script in soup()) {
        let _ = with_tables().execute(&script);
    }

    #[test]
    fn soups_behind_an_insert(rest in soup()) {
        let _ = with_tables().execute(&format!("INSERT INTO late SELECT carrier, {rest}"));
        let _ = with_tables().execute(&format!("CREATE TABLE x (a INT, {rest}"));
    }

    #[test]
    fn any_text(script in "\\PC{0,60}") {
        let _ = with_tables().execute(&script);
    }
}

#[test]
fn deep_nesting_is_an_error_and_long_chains_are_none() {
    let nested = format!(
        "INSERT INTO late SELECT carrier, {}1{} FROM flights",
        "(".repeat(5000),
        ")".repeat(5000)
    );
    let error = with_tables().execute(&nested).expect_err("too deep").to_string();
    assert!(error.contains("nested too deeply"), "{error}");

    let sum = vec!["1"; 2000].join(" + ");
    let error = with_tables().execute(&format!("INSERT INTO late SELECT carrier, {sum} FROM flights"));
    assert!(
        error
            .expect_err("too deep")
            .to_string()
            .contains("nested too deeply")
    );

    let conditions: Vec<_> = (0..3000).map(|i| format!("delay = {i}")).collect();
    let script = format!(
        "INSERT INTO late SELECT carrier, delay FROM flights WHERE {}",
        conditions.join(" OR ")
    );
    assert_eq!(
        with_tables()
            .execute(&script)
            .map(|o| o.len())
            .map_err(|e| e.to_string()),
        Ok(1)
    );

    for operator in [" OR ", " + ", " UNION ALL "] {
        let operand = if operator == " UNION ALL " {
            "SELECT carrier, delay FROM flights"
        } else {
            "TRUE"
        };
        for count in [40_000, 200_000] {
            let chain = vec![operand; count].join(operator);
            let script = match operator {
                " UNION ALL " if count > 50_000 => format!("INSERT INTO late {chain}"),
                " UNION ALL " => continue,
                _ => format!("INSERT INTO late SELECT carrier, delay FROM flights WHERE {chain}"),
            };
            let _ = with_tables().execute(&script);
        }
    }

    let union = vec!["SELECT carrier, delay FROM flights"; 300].join(" UNION ALL ");
    let outcomes = with_tables().execute(&format!("INSERT INTO late {union}"));
    assert_eq!(outcomes.map(|o| o.len()).map_err(|e| e.to_string()), Ok(1));
}
