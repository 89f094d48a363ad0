//! Sources and sinks of changes: where they are normalized, filtered and held, as Flink plans it.
//!
//! The plans are those of Flink 2.1 but for two things: a source of the newest row of each key shows `I` among its
//! kinds, and what holds rows for a sink is an operator of its own.

use crate::fixtures::{error, plan};

fn explained(tables: &str, insert: &str) -> Vec<String> {
    let text = plan(&format!("{tables}\nEXPLAIN CHANGELOG_MODE {insert}"));
    text.lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| {
            line.replace("default_catalog, default_database, ", "")
                .replace("default_catalog.default_database.", "")
        })
        .collect()
}

fn table(name: &str, mode: &str, key: &str) -> String {
    let key = match key {
        "" => String::new(),
        key => format!(", PRIMARY KEY ({key}) NOT ENFORCED"),
    };
    format!(
        "CREATE TABLE {name} (a INT, b STRING, c BIGINT{key}) WITH ('connector' = 'test', 'topic' = 'x', 'mode' = '{mode}');\n"
    )
}

const COPY: &str = "INSERT INTO s SELECT * FROM t";

#[test]
fn the_newest_rows_of_keys_are_normalized_where_somebody_needs_what_was_before() {
    let to_all = table("t", "upsert", "a") + &table("s", "cdc", "");
    assert_eq!(
        explained(&to_all, COPY),
        [
            "Sink(table=[s], fields=[a, b, c], changelogMode=[NONE])",
            "+- ChangelogNormalize(key=[a], changelogMode=[I,UB,UA,D])",
            "   +- Exchange(distribution=[hash[a]], changelogMode=[I,UA,D])",
            "      +- TableSourceScan(table=[[t]], fields=[a, b, c], changelogMode=[I,UA,D])",
        ]
    );
    let to_upsert = table("t", "upsert", "a") + &table("s", "upsert", "a");
    assert_eq!(
        explained(&to_upsert, COPY),
        [
            "Sink(table=[s], fields=[a, b, c], changelogMode=[NONE])",
            "+- TableSourceScan(table=[[t]], fields=[a, b, c], changelogMode=[I,UA,D])",
        ]
    );
    // What is computed needs all of a row that is deleted.
    let computed = explained(&to_upsert, "INSERT INTO s SELECT a, UPPER(b), c FROM t");
    assert!(
        computed[2].contains("ChangelogNormalize(key=[a], changelogMode=[I,UA,D])"),
        "{computed:#?}"
    );
}

#[test]
fn filters_go_into_the_normalization_and_those_of_the_key_below_it() {
    let tables = table("t", "upsert", "a") + &table("s", "upsert", "a");
    assert_eq!(
        explained(&tables, "INSERT INTO s SELECT * FROM t WHERE c > 5 AND a > 2"),
        [
            "Sink(table=[s], fields=[a, b, c], changelogMode=[NONE])",
            "+- ChangelogNormalize(key=[a], condition=[(c > CAST(5 AS BIGINT))], changelogMode=[I,UA,D])",
            "   +- Exchange(distribution=[hash[a]], changelogMode=[I,UA,D])",
            "      +- Calc(select=[a, b, c], where=[(a > 2)], changelogMode=[I,UA,D])",
            "         +- TableSourceScan(table=[[t]], fields=[a, b, c], changelogMode=[I,UA,D])",
        ]
    );
    // One state for both readers, and so no filter in it.
    let two = table("s2", "upsert", "a") + &tables;
    let both = plan(&format!(
        "{two} EXPLAIN STATEMENT SET BEGIN INSERT INTO s SELECT * FROM t WHERE c > 5; \
         INSERT INTO s2 SELECT * FROM t WHERE c > 6; END"
    ));
    assert_eq!(both.matches("ChangelogNormalize(key=[a])").count(), 1, "{both}");
}

#[test]
fn updates_lose_what_was_before_where_the_key_tells_enough() {
    let tables = table("t", "cdc", "a") + &table("s", "upsert", "a");
    assert_eq!(
        explained(&tables, "INSERT INTO s SELECT * FROM t WHERE a > 5"),
        [
            "Sink(table=[s], fields=[a, b, c], changelogMode=[NONE])",
            "+- Calc(select=[a, b, c], where=[(a > 5)], changelogMode=[I,UA,D])",
            "   +- DropUpdateBefore(changelogMode=[I,UA,D])",
            "      +- TableSourceScan(table=[[t]], fields=[a, b, c], changelogMode=[I,UB,UA,D])",
        ]
    );
    assert_eq!(
        explained(&tables, "INSERT INTO s SELECT * FROM t WHERE c > 5"),
        [
            "Sink(table=[s], fields=[a, b, c], changelogMode=[NONE])",
            "+- Calc(select=[a, b, c], where=[(c > CAST(5 AS BIGINT))], changelogMode=[I,UB,UA,D])",
            "   +- TableSourceScan(table=[[t]], fields=[a, b, c], changelogMode=[I,UB,UA,D])",
        ]
    );
}

#[test]
fn changes_that_may_be_repeated_are_normalized_by_their_key() {
    let duplicates = "SET 'table.exec.source.cdc-events-duplicate' = 'true';\n";
    let tables = format!(
        "{duplicates}{}{}",
        table("t", "cdc", "a"),
        table("s", "upsert", "a")
    );
    assert_eq!(
        explained(&tables, COPY),
        [
            "Sink(table=[s], fields=[a, b, c], changelogMode=[NONE])",
            "+- ChangelogNormalize(key=[a], changelogMode=[I,UA,D])",
            "   +- Exchange(distribution=[hash[a]], changelogMode=[I,UA,D])",
            "      +- DropUpdateBefore(changelogMode=[I,UA,D])",
            "         +- TableSourceScan(table=[[t]], fields=[a, b, c], changelogMode=[I,UB,UA,D])",
        ]
    );
    let keyless = format!("{duplicates}{}{}", table("t", "cdc", ""), table("s", "cdc", ""));
    let refused = error(&format!("{keyless}{COPY};"));
    assert!(
        refused.contains("requires the changelog sources to define a PRIMARY KEY"),
        "{refused}"
    );
    let keyless = format!("{}{}", table("t", "upsert", ""), table("s", "cdc", ""));
    let refused = error(&format!("{keyless}{COPY};"));
    assert!(refused.contains("UPDATE_AFTER but no UPDATE_BEFORE"), "{refused}");
}

#[test]
fn rows_are_held_where_the_sinks_key_is_not_the_changelogs() {
    let tables = table("t", "cdc", "a") + &table("s", "upsert", "b");
    let held = [
        "Sink(table=[s], fields=[a, b, c], upsertMaterialize=[true], changelogMode=[NONE])",
        "+- SinkMaterializer(pk=[b], changelogMode=[I,UA,D])",
        "   +- Exchange(distribution=[hash[b]], changelogMode=[I,UB,UA,D])",
    ];
    let is_held = |tables: &str, insert: &str| {
        let plan = explained(tables, insert);
        plan.iter().any(|line| line.contains("SinkMaterializer(pk=["))
    };
    let plan = explained(&tables, COPY);
    // NOT NULL of the key is kept before.
    assert_eq!(plan[..3], held);
    assert!(!is_held(
        &format!("SET 'table.exec.sink.upsert-materialize' = 'NONE';\n{tables}"),
        COPY
    ));
    let same_key = table("t", "cdc", "a") + &table("s", "upsert", "a");
    assert!(!is_held(&same_key, COPY));
    assert!(is_held(
        &format!("SET 'table.exec.sink.upsert-materialize' = 'FORCE';\n{same_key}"),
        COPY
    ));
    // A sink of all kinds with a key too, but not one whose key has more columns than the changelog's.
    assert!(is_held(&(table("t", "cdc", "a") + &table("s", "cdc", "b")), COPY));
    assert!(!is_held(
        &(table("t", "cdc", "a") + &table("s", "upsert", "a, b")),
        COPY
    ));
    // Inserts need no holding.
    assert!(!is_held(
        &(table("t", "inserts", "") + &table("s", "upsert", "b")),
        COPY
    ));
    let refused = error(&format!(
        "SET 'table.exec.sink.upsert-materialize' = 'MAYBE';\n{tables}{COPY};"
    ));
    assert!(refused.contains("NONE, AUTO or FORCE"), "{refused}");
}

#[test]
fn a_search_for_updates_that_depend_on_chance_is_refused() {
    let refused = error("SET 'table.optimizer.non-deterministic-update.strategy' = 'TRY_RESOLVE';");
    assert!(refused.contains("not supported"), "{refused}");
}
