//! A changed job and a checkpoint of what it was before: what `explain --compatible-with` says of it,
//! and that `run` does what was said.

use std::path::Path;

use millrace_state::Metadata;

use super::state::checkpoint_of;
use super::{Folder, Running, output, text};

const OPTIONS: &str = "'connector' = 'datagen', 'rows-per-second' = '1000', 'fields.n.kind' = 'sequence',
    'fields.n.start' = '1', 'fields.n.end' = '1000000000', 'fields.a.max' = '6', 'fields.a.min' = '0',
    'fields.b.max' = '6', 'fields.b.min' = '0'";

/// A job over `numbers`, with columns more and other statements.
fn job(columns: &str, query: &str, statements: &str) -> String {
    format!(
        "SET 'pipeline.name' = 'counted';
         CREATE TABLE numbers (n BIGINT, a INT, b INT{columns}) WITH ({OPTIONS});
         CREATE TABLE hole (k STRING, c BIGINT, s BIGINT) WITH ('connector' = 'blackhole');
         CREATE TABLE other (n BIGINT) WITH ('connector' = 'blackhole');
         BEGIN STATEMENT SET;
         INSERT INTO hole {query};
         {statements}
         END;"
    )
}

const COUNTS: &str = "SELECT CAST(a AS STRING), COUNT(*), SUM(n) FROM numbers GROUP BY a";

/// What explain says of a job and a checkpoint, and its exit code.
fn compared(folder: &Folder, sql: &str, checkpoint: &Path, more: &[&str]) -> (Option<i32>, String) {
    let file = folder.write("changed.sql", sql);
    let path = checkpoint.display().to_string();
    let output = output(&[&["explain", &file, "--compatible-with", &path], more].concat());
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.code(), said)
}

/// What `run` says of a job that it does not start from a checkpoint.
fn refused(folder: &Folder, sql: &str, checkpoint: &Path) -> String {
    let file = folder.write("changed.sql", sql);
    let path = checkpoint.display().to_string();
    let option = format!("execution.checkpointing.dir={}", folder.path("again").display());
    let output = output(&["run", &file, "--from", &path, "-D", &option]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn columns_sinks_and_views_more_keep_the_state() {
    let folder = Folder::new();
    let checkpoint = checkpoint_of(&job("", COUNTS, ""), &folder);
    let changed = job(
        ", more STRING",
        "SELECT CAST(g AS STRING), c, s FROM grouped",
        "INSERT INTO other SELECT n FROM named;",
    );
    // One that nobody reads, one that the old query reads, and one that the new one reads.
    let views = "CREATE VIEW unread AS SELECT COUNT(*) AS c FROM numbers;
        CREATE VIEW grouped AS SELECT a AS g, COUNT(*) AS c, SUM(n) AS s FROM numbers GROUP BY a;
        CREATE VIEW named AS SELECT n FROM numbers WHERE more <> '';
        BEGIN STATEMENT SET";
    let changed = changed.replace("BEGIN STATEMENT SET", views);
    let (code, said) = compared(&folder, &changed, &checkpoint, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("group-aggregate:numbers") && said.contains("kept"),
        "{said}"
    );
    assert!(said.contains("sink:other (Sink: other"), "{said}");
    assert!(
        said.contains("new: starts empty") && !said.contains("lost"),
        "{said}"
    );

    let file = folder.write("changed.sql", &changed);
    let path = checkpoint.display().to_string();
    let mut job = Running::start_with(&file, &folder.path("again"), &["--from", &path]);
    job.wait_for("restored");
    job.wait_for("running");
    assert_eq!(job.signal("TERM").0, Some(0));
}

#[test]
fn two_phases_have_the_state_of_one() {
    let folder = Folder::new();
    let checkpoint = checkpoint_of(&job("", COUNTS, ""), &folder);
    let bundled = "SET 'table.exec.mini-batch.enabled' = 'true'; SET 'table.exec.mini-batch.size' = '100';
        SET 'table.exec.mini-batch.allow-latency' = '1 s';";
    let (code, said) = compared(
        &folder,
        &format!("{bundled} {}", job("", COUNTS, "")),
        &checkpoint,
        &[],
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("GlobalGroupAggregate"), "{said}");
    let line = said
        .lines()
        .find(|line| line.starts_with("group-aggregate:numbers"));
    assert!(line.is_some_and(|line| line.ends_with("kept")), "{said}");
}

#[test]
fn a_checkpoint_that_says_no_schemas_is_known_by_its_uids() {
    let folder = Folder::new();
    let checkpoint = checkpoint_of(&job("", COUNTS, ""), &folder);
    let path = checkpoint.join("_metadata");
    let mut metadata = Metadata::decode_file(&std::fs::read(&path).unwrap(), "here").unwrap();
    let schemas = metadata.operators.iter_mut().filter_map(|o| o.schema.take());
    assert_eq!(schemas.count(), 1);
    std::fs::write(&path, metadata.encode_file()).unwrap();
    let (code, said) = compared(&folder, &job("", COUNTS, ""), &checkpoint, &[]);
    assert_eq!(code, Some(0), "{said}");
    let line = said
        .lines()
        .find(|line| line.starts_with("group-aggregate:numbers"));
    assert!(line.is_some_and(|line| line.ends_with("kept")), "{said}");
}

#[test]
fn other_keys_and_accumulators_are_refused_before_anything_starts() {
    let folder = Folder::new();
    let checkpoint = checkpoint_of(&job("", COUNTS, ""), &folder);
    for (query, was, is) in [
        (
            COUNTS.replace("a AS", "b AS").replace("BY a", "BY b"),
            "(numbers.a INT)",
            "(numbers.b INT)",
        ),
        (
            COUNTS.replace("a AS", "a + b AS").replace("BY a", "BY a + b"),
            "(numbers.a INT)",
            "((numbers.a + numbers.b) INT)",
        ),
        (
            COUNTS.replace("SUM(n)", "MAX(n)"),
            "SUM(numbers.n)",
            "MAX(numbers.n)",
        ),
        (
            COUNTS.replace("SUM(n)", "SUM(b)"),
            "SUM(numbers.n)",
            "SUM(numbers.b)",
        ),
    ] {
        let changed = job("", &query, "");
        let (code, said) = compared(&folder, &changed, &checkpoint, &["--allow-non-restored-state"]);
        assert_eq!(code, Some(1), "{said}");
        let line = said.lines().find(|line| line.contains("incompatible"));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains("group-aggregate:numbers"), "{line}");
        assert!(
            line.contains(was) && line.contains(is),
            "{was} and {is} in {line}"
        );
        let refused = refused(&folder, &changed, &checkpoint);
        assert!(refused.contains(line), "{line} in {refused}");
        assert!(refused.contains("--fresh"), "{refused}");
    }
}

#[test]
fn state_that_would_be_lost_is_said_and_can_be_allowed() {
    let folder = Folder::new();
    let checkpoint = checkpoint_of(&job("", COUNTS, ""), &folder);
    let changed = job("", "SELECT CAST(a AS STRING), n, n FROM numbers", "");
    let (code, said) = compared(&folder, &changed, &checkpoint, &[]);
    assert_eq!(code, Some(1), "{said}");
    let lost = "lost: the job has no operator of this uid";
    assert!(said.contains(lost) && said.contains("source:numbers"), "{said}");
    let (code, said) = compared(&folder, &changed, &checkpoint, &["--allow-non-restored-state"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(refused(&folder, &changed, &checkpoint).contains(lost));
    let (code, said) = compared(&folder, &changed, &folder.path("c/0/chk-1"), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no checkpoint at that place"), "{said}");
}
