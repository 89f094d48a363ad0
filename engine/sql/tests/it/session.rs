//! SHOW, SET, USE and what a session remembers.

use insta::assert_snapshot;

use crate::fixtures::{text, with_tables};

#[test]
fn show() {
    let mut session = with_tables();
    session
        .execute("CREATE VIEW delays (`who`, `how late`) COMMENT 'c' AS SELECT carrier, delay FROM flights")
        .unwrap_or_else(|e| panic!("{e}"));
    assert_snapshot!(text(&mut session, "SHOW TABLES"), @"");
    assert_snapshot!(text(&mut session, "SHOW TABLES LIKE 'l%'"), @"");
    assert_snapshot!(text(&mut session, "SHOW VIEWS IN default_database NOT LIKE 'x'"), @"");
    assert_snapshot!(text(&mut session, "SHOW CREATE VIEW delays"), @"");
    assert_snapshot!(text(&mut session, "SHOW COLUMNS FROM delays"), @"");
    assert_snapshot!(text(&mut session, "SHOW CURRENT DATABASE"), @"");
    assert!(text(&mut session, "SHOW FUNCTIONS LIKE 'UPP%'").contains("UPPER"));
    session
        .execute("USE CATALOG default_catalog; USE default_catalog.default_database")
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn set_and_reset() {
    let mut session = with_tables();
    session
        .execute("SET 'a' = 'b'; SET old.style = 10 s; RESET 'a'")
        .unwrap_or_else(|e| panic!("{e}"));
    assert_snapshot!(text(&mut session, "SET"), @"");
    session.execute("RESET").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(text(&mut session, "SET"), "Empty set");
}
