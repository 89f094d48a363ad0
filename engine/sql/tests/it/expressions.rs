//! Expressions: what SQL's syntax becomes, with types.

use millrace_dataflow::Operator;
use millrace_dataflow::explain::format_expr;

use crate::fixtures::with_tables;

/// How an expression over `flights` is planned, and its type.
fn bound(expression: &str) -> String {
    let mut session = with_tables();
    // A view keeps the type; its plan shows the expression.
    let script = format!(
        "CREATE VIEW v AS SELECT {expression} AS x FROM flights; DESCRIBE v; EXPLAIN SELECT x FROM v"
    );
    let outcomes = session
        .execute(&script)
        .unwrap_or_else(|e| panic!("{expression}\n{e}"));
    let texts: Vec<String> = outcomes
        .into_iter()
        .filter_map(|o| match o {
            millrace_sql::Outcome::Text(t) => Some(t),
            _ => None,
        })
        .collect();
    let described = texts[0].lines().nth(3).unwrap_or_default();
    let cells: Vec<&str> = described.split('|').map(str::trim).collect();
    let null = if cells[3] == "TRUE" { "" } else { " NOT NULL" };
    let plan = texts[1].lines().nth(1).unwrap_or_default();
    let select = plan
        .strip_prefix("Calc(select=[")
        .and_then(|p| p.strip_suffix("])"))
        .unwrap_or(plan);
    let text = select.strip_suffix(" AS x").unwrap_or(select);
    format!("{text} : {}{null}", cells[2])
}

#[test]
fn operators_and_their_precedence() {
    for (sql, expected) in [
        ("delay + 1 * 2", "(delay + (1 * 2)) : INT"),
        ("-delay", "-(delay) : INT"),
        ("-1", "-1 : INT NOT NULL"),
        ("- 2147483648", "-2147483648 : INT NOT NULL"),
        ("1 + 2 - 3", "((1 + 2) - 3) : INT NOT NULL"),
        ("delay % 2 = 0", "((delay % 2) = 0) : BOOLEAN"),
        ("NOT delay = 1", "NOT (delay = 1) : BOOLEAN"),
        (
            "delay > 1 OR delay < 0 AND delay <> 5",
            "((delay > 1) OR ((delay < 0) AND (delay <> 5))) : BOOLEAN",
        ),
        (
            "delay IS NOT NULL AND carrier IS NULL",
            "(delay IS NOT NULL AND carrier IS NULL) : BOOLEAN NOT NULL",
        ),
        (
            "delay = 1 IS NOT TRUE",
            "(delay = 1) IS NOT TRUE : BOOLEAN NOT NULL",
        ),
        (
            "delay IS DISTINCT FROM 1 AND delay > 0",
            "((delay IS DISTINCT FROM 1) AND (delay > 0)) : BOOLEAN",
        ),
        (
            "delay IS NOT DISTINCT FROM 1 OR delay > 0",
            "((delay IS NOT DISTINCT FROM 1) OR (delay > 0)) : BOOLEAN",
        ),
        (
            "carrier || '-' || origin",
            "((carrier || '-') || origin) : STRING",
        ),
        ("carrier != 'AA'", "(carrier <> 'AA') : BOOLEAN"),
        (
            "TRUE = carrier LIKE 'A%'",
            "(true = (carrier LIKE 'A%')) : BOOLEAN",
        ),
    ] {
        assert_eq!(bound(sql), expected, "{sql}");
    }
}

#[test]
fn literals() {
    for (sql, expected) in [
        ("'it''s'", "'it''s' : CHAR(4) NOT NULL"),
        ("U&'\\00e4b'", "'äb' : CHAR(2) NOT NULL"),
        ("'one '\n 'text'", "'one text' : CHAR(8) NOT NULL"),
        ("X'CAFE'", "X'CAFE' : BINARY(2) NOT NULL"),
        ("1.50", "1.50 : DECIMAL(3, 2) NOT NULL"),
        ("1e3", "1E3 : DOUBLE NOT NULL"),
        ("DATE '2013-01-31'", "2013-01-31 : DATE NOT NULL"),
        ("TIME '10:11:12'", "10:11:12 : TIME(0) NOT NULL"),
        (
            "TIMESTAMP '2013-01-31 10:11:12.5'",
            "2013-01-31 10:11:12.500 : TIMESTAMP(1) NOT NULL",
        ),
        (
            "INTERVAL '1-2' YEAR TO MONTH",
            "14:INTERVAL MONTH : INTERVAL YEAR TO MONTH NOT NULL",
        ),
        (
            "INTERVAL '1 02:00:00' DAY TO SECOND",
            "93600000:INTERVAL SECOND : INTERVAL DAY TO SECOND(3) NOT NULL",
        ),
        (
            "INTERVAL -'5' MINUTE",
            "-300000:INTERVAL SECOND : INTERVAL DAY TO SECOND(3) NOT NULL",
        ),
        ("TRUE", "true : BOOLEAN NOT NULL"),
        ("CAST(NULL AS INT)", "null:INT : INT"),
        ("CURRENT_DATABASE()", "'default_database' : STRING NOT NULL"),
    ] {
        assert_eq!(bound(sql), expected, "{sql}");
    }
}

#[test]
fn casts_take_every_type_of_flink() {
    for (sql, expected) in [
        ("CAST(delay AS BIGINT)", "CAST(delay AS BIGINT) : BIGINT"),
        ("CAST(id AS STRING)", "CAST(id AS STRING) : STRING NOT NULL"),
        (
            "TRY_CAST(carrier AS DECIMAL(10, 2))",
            "TRY_CAST(carrier AS DECIMAL(10, 2)) : DECIMAL(10, 2)",
        ),
        (
            "CAST(at AS TIMESTAMP_LTZ(3))",
            "CAST(at AS TIMESTAMP_LTZ(3)) : TIMESTAMP_LTZ(3)",
        ),
        (
            "CAST(at AS TIMESTAMP(3) WITH LOCAL TIME ZONE)",
            "CAST(at AS TIMESTAMP_LTZ(3)) : TIMESTAMP_LTZ(3)",
        ),
        (
            "CAST(tags AS ARRAY<VARCHAR(3)>)",
            "CAST(tags AS ARRAY<VARCHAR(3)>) : ARRAY<VARCHAR(3)>",
        ),
        (
            "CAST(delay AS DOUBLE PRECISION)",
            "CAST(delay AS DOUBLE) : DOUBLE",
        ),
    ] {
        assert_eq!(bound(sql), expected, "{sql}");
    }
}

#[test]
fn nested_columns() {
    for (sql, expected) in [
        ("plane.tail", "plane.tail : STRING"),
        ("flights.plane.`built in`", "plane.built in : INT"),
        ("flights.plane.maker.name", "plane.maker.name : STRING"),
        (
            "default_catalog.default_database.flights.plane.maker.country",
            "plane.maker.country : STRING",
        ),
        ("tags[1]", "ITEM(tags, CAST(1 AS BIGINT)) : STRING"),
        ("attributes['x'] + 1", "(ITEM(attributes, 'x') + 1) : INT"),
        (
            "flights.tags[delay]",
            "ITEM(tags, CAST(delay AS BIGINT)) : STRING",
        ),
    ] {
        assert_eq!(bound(sql), expected, "{sql}");
    }
}

#[test]
fn special_syntax_of_functions() {
    let mut wrong = Vec::new();
    for (sql, expected) in [
        (
            "CASE WHEN delay > 1 THEN 'late' END",
            "CASE((delay > 1), 'late', null:",
        ),
        (
            "CASE delay WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE 'many' END",
            "CASE((delay = 1), ",
        ),
        (
            "delay BETWEEN 1 AND 2 AND delay <> 1",
            "(((delay >= 1) AND (delay <= 2)) AND (delay <> 1))",
        ),
        ("delay NOT BETWEEN 1 AND 2", "NOT ((delay >= 1) AND (delay <= 2))"),
        (
            "carrier IN ('AA', 'UA')",
            "IN(carrier, CAST('AA' AS STRING), CAST('UA' AS STRING))",
        ),
        ("carrier NOT IN ('AA')", "NOT IN(carrier, CAST('AA' AS STRING))"),
        ("carrier NOT LIKE 'A%'", "(carrier NOT LIKE 'A%')"),
        ("carrier LIKE 'A!%' ESCAPE '!'", "LIKE(carrier, 'A!%', '!')"),
        ("carrier SIMILAR TO 'A|B'", "(carrier SIMILAR TO 'A|B')"),
        ("EXTRACT(YEAR FROM at)", "EXTRACT('YEAR', at)"),
        ("FLOOR(at TO HOUR)", "FLOOR(at, 'HOUR')"),
        ("CEIL(price)", "CEIL(price)"),
        ("POSITION('A' IN carrier)", "POSITION('A', carrier)"),
        ("TRIM(carrier)", "TRIM('BOTH', ' ', carrier)"),
        ("TRIM(LEADING 'x' FROM carrier)", "TRIM('LEADING', 'x', carrier)"),
        (
            "OVERLAY(carrier PLACING 'x' FROM 1 FOR 2)",
            "OVERLAY(carrier, 'x', 1, 2)",
        ),
        ("SUBSTRING(carrier FROM 2 FOR 3)", "SUBSTRING(carrier, 2, 3)"),
        ("SUBSTRING(carrier, 2)", "SUBSTRING(carrier, 2)"),
        ("upper(carrier)", "UPPER(carrier)"),
        (
            "TIMESTAMPADD(DAY, 1, at)",
            "(at + (86400000:INTERVAL SECOND * 1))",
        ),
        ("TIMESTAMPDIFF(MINUTE, at, at)", "TIMESTAMPDIFF('MINUTE', at, at)"),
        ("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP()"),
        ("CURRENT_DATE", "CURRENT_DATE()"),
        ("ARRAY[1, 2]", "ARRAY(1, 2)"),
        ("MAP['a', 1]", "MAP('a', 1)"),
        ("ROW(1, 'a')", "ROW(1, 'a')"),
        ("(delay, carrier)", "ROW(delay, carrier)"),
        ("COALESCE(delay, 0)", "COALESCE(delay, 0)"),
        ("IF(delay > 1, 'a', 'b')", "IF((delay > 1), 'a', 'b')"),
    ] {
        let found = bound(sql);
        if !found.starts_with(expected) {
            wrong.push(format!("{sql}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn types_survive_the_way_through_cast() {
    let mut session = with_tables();
    let graph = crate::fixtures::graph(
        &mut session,
        "CREATE TABLE r (x ROW<a BIGINT, b ARRAY<STRING>>) WITH ('connector' = 'test', 'topic' = 'r');
         INSERT INTO r SELECT CAST(ROW(delay, tags) AS ROW<a BIGINT, b ARRAY<STRING>>) FROM flights",
    );
    let calc = graph.nodes.iter().find_map(|n| match &n.operator {
        Operator::Calc { projection, .. } => {
            Some(format_expr(&projection[0], &graph.nodes[n.inputs[0].from].output))
        }
        _ => None,
    });
    assert_eq!(
        calc.as_deref(),
        Some("CAST(ROW(delay, tags) AS ROW<`a` BIGINT, `b` ARRAY<STRING>>)")
    );
}
