//! `millrace state` on the checkpoints of a job with keyed state.

use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_testkit::wait;

use super::{Folder, Running, millrace, output, text};

/// Endless, of seven keys.
const GROUPS: &str = "
    SET 'pipeline.name' = 'groups';
    SET 'parallelism.default' = '2';
    CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000',
      'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000000');
    CREATE TABLE hole (k BIGINT, c BIGINT, s BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'blackhole');
    INSERT INTO hole SELECT n % 7, COUNT(*), SUM(n) FROM numbers GROUP BY n % 7;";

/// Runs a job for some checkpoints, stops it, and gives the folder of the last one.
pub fn checkpoint_of(sql: &str, folder: &Folder) -> PathBuf {
    let file = folder.write("job.sql", sql);
    let checkpoints = folder.path("checkpoints");
    let mut job = Running::start(&file, &checkpoints);
    job.wait_for("starting");
    wait::until("a checkpoint with table files", Duration::from_secs(60), || {
        Ok(stored_rows(&checkpoints).then_some(()))
    })
    .unwrap();
    let (code, said) = job.signal("TERM");
    assert_eq!(code, Some(0), "{said}");
    newest(&checkpoints).expect("a checkpoint")
}

pub fn newest(checkpoints: &Path) -> Option<PathBuf> {
    let job = std::fs::read_dir(checkpoints).ok()?.next()?.ok()?.path();
    let folders = std::fs::read_dir(job).ok()?.flatten().map(|entry| entry.path());
    let number = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("chk-")?.parse::<u64>().ok()
    };
    let complete = folders.filter(|path| path.join("_metadata").is_file());
    complete.max_by_key(number).filter(|path| number(path).is_some())
}

/// Whether some checkpoint has table files.
fn stored_rows(checkpoints: &Path) -> bool {
    let Some(newest) = newest(checkpoints) else {
        return false;
    };
    let files = std::fs::read_dir(newest).map(|entries| entries.count());
    files.is_ok_and(|count| count > 1)
}

#[test]
fn inspect_shows_operators_tables_and_rows() {
    let folder = Folder::new();
    let checkpoint = checkpoint_of(GROUPS, &folder);
    let path = checkpoint.display().to_string();
    let scratch = format!(
        "state.backend.rocksdb.localdir={}",
        folder.path("scratch").display()
    );
    let shown = output(&["state", "inspect", &path, "-D", &scratch]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    for part in [
        "of job 'groups'",
        "OPERATOR",
        "source:numbers",
        "KEY GROUPS",
        "TABLE",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let json = output(&[
        "state",
        "inspect",
        &format!("file://{path}/_metadata"),
        "--json",
        "-D",
        &scratch,
    ]);
    assert!(json.status.success(), "{}", text(&json.stderr));
    let seen: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(seen["job"], "groups");
    let operators = seen["operators"].as_array().unwrap();
    let of_kind = |kind: &str| {
        let mut found = operators
            .iter()
            .filter(|o| o["uid"].as_str().is_some_and(|u| u.starts_with(kind)));
        found.next().unwrap_or_else(|| panic!("no {kind} in {seen:#}"))
    };
    let groups = of_kind("group-aggregate");
    assert_eq!(groups["parallelism"], 2);
    assert_eq!(groups["key_groups"], 128);
    let table = &groups["tables"][0];
    assert_eq!(table["name"], "groups");
    // Each of the groups seen so far is a row in the sink.
    assert!(
        table["rows"].as_u64().is_some_and(|rows| (1..=7).contains(&rows)),
        "{seen:#}"
    );
    assert_eq!(table["rows"], of_kind("sink-materializer")["tables"][0]["rows"]);
    assert_eq!(table["rows_are_exact"], true);
    assert!(table["bytes"].as_u64() > Some(0), "{seen:#}");
    let source = of_kind("source:numbers");
    assert!(source["entries"].as_u64() > Some(0), "{seen:#}");
    assert_eq!(
        std::fs::read_dir(folder.path("scratch")).unwrap().count(),
        0,
        "nothing is left there"
    );
}

#[test]
fn what_is_no_checkpoint_or_damaged_is_said() {
    let folder = Folder::new();
    let refused = |path: &Path| {
        let output = output(&["state", "inspect", &path.display().to_string()]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        text(&output.stderr)
    };
    let said = refused(&folder.path("c/0123/chk-7"));
    assert!(
        said.contains("no checkpoint at that place") && said.contains("chk-7"),
        "{said}"
    );
    std::fs::create_dir_all(folder.path("c/0123/chk-7")).unwrap();
    std::fs::write(
        folder.path("c/0123/chk-7/_metadata"),
        "something else that is long enough",
    )
    .unwrap();
    let said = refused(&folder.path("c/0123/chk-7"));
    assert!(said.contains("not the _metadata of a checkpoint"), "{said}");

    let checkpoint = checkpoint_of(GROUPS, &folder);
    let metadata = checkpoint.join("_metadata");
    let entries = std::fs::read_dir(&checkpoint).unwrap().flatten();
    let file = entries
        .map(|entry| entry.path())
        .find(|path| *path != metadata)
        .expect("a state file");
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&file, &bad).unwrap();
    let said = refused(&checkpoint);
    assert!(said.contains("checksum") && said.contains("state file"), "{said}");
    std::fs::remove_file(&file).unwrap();
    assert!(refused(&checkpoint).contains("missing"));
    std::fs::write(&file, &good).unwrap();
    let good = std::fs::read(&metadata).unwrap();
    std::fs::write(&metadata, &good[..good.len() - 3]).unwrap();
    assert!(refused(&checkpoint).contains("cut off or altered"));
    assert_eq!(
        millrace(&["state", "inspect"]).output().unwrap().status.code(),
        Some(2)
    );
}
