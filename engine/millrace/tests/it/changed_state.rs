//! Each operator that keeps state by key, in a job that stops in the middle of its input. With a column, a view
//! and a sink more it goes on: both runs together give what one run gives, and would not without the state. With
//! another window, key, range or type it is refused, and nothing has happened to it.

mod cases;

use std::path::PathBuf;

use millrace_state::Metadata;

use self::cases::*;
use super::state::newest;
use super::{Folder, output, text};

/// Each source stops after half of them.
const ROWS: u32 = 60;

/// The tables and the sink of a case, with columns in front of those of the sources.
const TABLES: &str = "
    SET 'pipeline.name' = 'changed';
    SET 'table.exec.source.cdc-events-duplicate' = 'true';
    CREATE TABLE orders ({more}id INT, k INT, amount INT, `at` TIMESTAMP(3), proc AS PROCTIME(),
      WATERMARK FOR `at` AS `at` - INTERVAL '3' SECOND)
      WITH ('connector' = 'filesystem', 'path' = '{folder}/orders.json', 'format' = 'json');
    CREATE TABLE payments ({more}id INT, paid INT, due TIMESTAMP(3), WATERMARK FOR due AS due - INTERVAL '3' SECOND)
      WITH ('connector' = 'filesystem', 'path' = '{folder}/payments.json', 'format' = 'json');
    CREATE TABLE changes ({more}id INT, number INT, PRIMARY KEY (id) NOT ENFORCED)
      WITH ('connector' = 'filesystem', 'path' = '{folder}/changes.debezium', 'format' = 'debezium-json');
    CREATE TABLE result ({columns}) WITH ('connector' = 'print', 'print-identifier' = 'result');
";

/// The second sink, of a view of a column that was not there, and of the time of windows.
const MORE: &str = "
    CREATE TABLE more (note STRING, c BIGINT) WITH ('connector' = 'print', 'print-identifier' = 'more');
    CREATE VIEW noted AS SELECT note, amount, `at` FROM orders WHERE note <> 'none';
    CREATE VIEW viewed_orders AS SELECT * FROM orders;
    CREATE VIEW viewed_payments AS SELECT * FROM payments;
    CREATE VIEW viewed_changes AS SELECT * FROM changes;
";
const INTO_MORE: &str = "INSERT INTO more SELECT note, COUNT(*) FROM noted GROUP BY note;";

struct Bench {
    folder: Folder,
    case: &'static Case,
}

impl Bench {
    fn new(case: &'static Case) -> Bench {
        let folder = Folder::new();
        // Between the 40th and the next lies half a minute.
        let second = |i: u32| if i > 40 { i + 30 } else { i };
        let time = |i: u32| format!("2026-01-01 00:{:02}:{:02}", second(i) / 60, second(i) % 60);
        let order = |i: u32| {
            let (k, amount) = (i % 5, i * 37 % 61);
            format!(
                "{{\"id\":{i},\"k\":{k},\"amount\":{amount},\"at\":\"{}\",\"note\":\"n{k}\"}}\n",
                time(i)
            )
        };
        // They come ten seconds before their orders, so that the middle is between both.
        let payment = |i: u32| {
            let id = (i + 9) % ROWS + 1;
            format!(
                "{{\"id\":{id},\"paid\":{},\"due\":\"{}\",\"note\":\"p\"}}\n",
                10 * id,
                time(i)
            )
        };
        let row = |id: u32, number: u32| format!("{{\"id\":{id},\"number\":{number},\"note\":\"c\"}}");
        let change = |i: u32| {
            let id = i % (ROWS / 2) + 1;
            let (before, after, op) = match (i >= ROWS / 2, id % 3) {
                (false, _) => ("null".to_owned(), row(id, i), "c"),
                (true, 0) => (row(id, i - ROWS / 2), "null".to_owned(), "d"),
                (true, _) => (row(id, i - ROWS / 2), row(id, i), "u"),
            };
            format!("{{\"before\":{before},\"after\":{after},\"op\":\"{op}\"}}\n")
        };
        folder.write("orders.json", &(1..=ROWS).map(order).collect::<String>());
        folder.write("payments.json", &(1..=ROWS).map(payment).collect::<String>());
        folder.write("changes.debezium", &(0..ROWS).map(change).collect::<String>());
        Bench { folder, case }
    }

    /// The script of the case, or of it with more in it, after a replacement.
    fn script(&self, has_more: bool, (from, to): (&str, &str)) -> String {
        let (more, views, into_more, prefix) = match has_more {
            true => ("note STRING, ", MORE, INTO_MORE, "viewed_"),
            false => ("", "", "", ""),
        };
        let query = self.case.query;
        let tables = TABLES.replace("{columns}", self.case.columns);
        let job =
            format!("{tables}{views}BEGIN STATEMENT SET;\n{into_more}\nINSERT INTO result {query};\nEND;\n");
        assert!(from.is_empty() || job.contains(from), "no {from} in {job}");
        let mut job = match from {
            "" => job,
            from => job.replace(from, to),
        };
        for table in ["orders", "payments", "changes"] {
            job = job.replace(&format!("{{{table}}}"), &format!("{prefix}{table}"));
        }
        job = job.replace("{more}", more);
        job = job.replace("{folder}", &self.folder.path("").display().to_string());
        self.folder.write("job.sql", &job)
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.path("checkpoints")
    }

    /// Runs with checkpoints in a folder of this name; what is said in the end, and what was printed.
    fn attempt(&self, script: &str, checkpoints: &str, more: &[&str]) -> (bool, String, String) {
        let folder = self.folder.path(checkpoints);
        let checkpoints = format!("execution.checkpointing.dir={}", folder.display());
        let arguments = [
            "run",
            script,
            "-D",
            &checkpoints,
            "-D",
            "millrace.batch.max-rows=5",
        ];
        let output = output(&[&arguments[..], more].concat());
        let (log, printed) = (text(&output.stderr), text(&output.stdout));
        (output.status.success(), log, printed)
    }

    fn run(&self, script: &str, checkpoints: &str, more: &[&str]) -> String {
        let (is_ended, log, printed) = self.attempt(script, checkpoints, more);
        assert!(is_ended, "{}: {log}", self.case.query);
        printed
    }

    fn stop_in_the_middle(&self) -> Vec<String> {
        let settings = [
            "-D",
            "millrace.test.checkpoint-after-rows=30",
            "-D",
            "millrace.test.stop-at-checkpoint=true",
        ];
        of_sink(
            "result",
            &self.run(&self.script(false, ("", "")), "checkpoints", &settings),
        )
    }

    fn explain(&self, script: &str) -> (bool, String) {
        let checkpoint = newest(&self.checkpoints()).unwrap().display().to_string();
        let output = output(&["explain", script, "--compatible-with", &checkpoint]);
        (
            output.status.success(),
            text(&output.stdout) + &text(&output.stderr),
        )
    }

    /// What explain says of an operator, by what its uid begins with.
    fn line<'a>(&self, said: &'a str, uid: &str) -> &'a str {
        let line = said.lines().find(|line| line.starts_with(uid));
        line.unwrap_or_else(|| panic!("no {uid} in {said}"))
    }

    /// The uid of the operator of the case.
    fn uid(&self) -> String {
        let file = newest(&self.checkpoints()).unwrap().join("_metadata");
        let metadata = Metadata::decode_file(&std::fs::read(file).unwrap(), "here").unwrap();
        let mut uids = metadata.operators.into_iter().map(|operator| operator.uid);
        let is_it = |uid: &String| uid.starts_with(&format!("{}:", self.case.operator));
        uids.find(is_it).unwrap()
    }

    /// What the second run prints if the operator finds nothing in the checkpoint.
    fn goes_on_without_the_state(&self) -> Vec<String> {
        let checkpoint = newest(&self.checkpoints()).unwrap();
        let file = checkpoint.join("_metadata");
        let good = std::fs::read(&file).unwrap();
        let mut metadata = Metadata::decode_file(&good, "here").unwrap();
        let before = metadata.operators.len();
        let begin = format!("{}:", self.case.operator);
        metadata
            .operators
            .retain(|operator| !operator.uid.starts_with(&begin));
        assert_eq!(metadata.operators.len(), before - 1);
        std::fs::write(&file, metadata.encode_file()).unwrap();
        let from = checkpoint.display().to_string();
        let printed = self.run(&self.script(false, ("", "")), "elsewhere", &["--from", &from]);
        std::fs::write(&file, good).unwrap();
        of_sink("result", &printed)
    }
}

/// The lines that a sink has printed.
fn of_sink(name: &str, printed: &str) -> Vec<String> {
    let begin = format!("{name}> ");
    let lines = printed.lines().filter_map(|line| line.strip_prefix(&begin));
    lines.map(str::to_owned).collect()
}

fn together(first: &[String], second: &[String]) -> Vec<String> {
    let mut all = [first, second].concat();
    all.sort_unstable();
    all
}

/// With more in it the job keeps the state of its operator.
fn keeps(case: &'static Case) {
    let bench = Bench::new(case);
    let whole = bench.run(&bench.script(false, ("", "")), "whole", &[]);
    let whole = together(&of_sink("result", &whole), &[]);
    let first = bench.stop_in_the_middle();
    let without = bench.goes_on_without_the_state();
    assert_ne!(
        together(&first, &without),
        whole,
        "the state is of no use in {}",
        case.query
    );
    let script = bench.script(true, ("", ""));
    let (is_compatible, said) = bench.explain(&script);
    assert!(is_compatible, "{}: {said}", case.query);
    assert!(bench.line(&said, &bench.uid()).ends_with(" kept"), "{said}");
    assert!(!said.contains("lost") && !said.contains("incompatible"), "{said}");
    let printed = bench.run(&script, "checkpoints", &[]);
    assert_eq!(
        together(&first, &of_sink("result", &printed)),
        whole,
        "{}",
        case.query
    );
    assert!(
        of_sink("more", &printed).iter().any(|row| row.contains("n1")),
        "{printed}"
    );
}

/// What cannot go on from its state is refused, by explain and by run in the same words, and the job as it was
/// goes on.
fn refuses(case: &'static Case) {
    let bench = Bench::new(case);
    let whole = bench.run(&bench.script(false, ("", "")), "whole", &[]);
    let first = bench.stop_in_the_middle();
    for (from, to, words) in case.refused {
        let script = bench.script(false, (from, to));
        let (is_compatible, said) = bench.explain(&script);
        assert!(!is_compatible, "{to}: {said}");
        let line = bench.line(&said, &format!("{}:", case.operator));
        assert!(line.contains(": incompatible: "), "{to}: {said}");
        for word in *words {
            assert!(line.contains(word), "{word} in {line}");
        }
        let (is_ended, log, printed) = bench.attempt(&script, "checkpoints", &[]);
        assert!(!is_ended && printed.is_empty(), "{to}: {printed}");
        assert!(log.contains(line) && log.contains("--fresh"), "{line} in {log}");
    }
    let second = bench.run(&bench.script(false, ("", "")), "checkpoints", &[]);
    assert_eq!(
        together(&first, &of_sink("result", &second)),
        together(&of_sink("result", &whole), &[])
    );
}

#[test]
fn windows_keep_their_state() {
    [&TUMBLE, &HOP, &CUMULATE].into_iter().for_each(keeps);
}

#[test]
fn sessions_keep_their_state() {
    [&SESSION, &SESSION_ROWS].into_iter().for_each(keeps);
}

#[test]
fn rows_of_windows_keep_their_state() {
    [&WINDOW_RANK, &WINDOW_JOIN].into_iter().for_each(keeps);
}

#[test]
fn over_keeps_its_state() {
    [&OVER_ROWS, &OVER_RANGE, &OVER_RUNNING]
        .into_iter()
        .for_each(keeps);
}

#[test]
fn top_n_keeps_its_state() {
    [&TOP_2, &TOP_OF_GROUPS].into_iter().for_each(keeps);
}

#[test]
fn deduplication_keeps_its_state() {
    let all = [&FIRST_BY_ARRIVAL, &FIRST_BY_TIME, &LAST_BY_TIME];
    all.into_iter().for_each(keeps);
}

#[test]
fn joins_keep_their_state() {
    [&JOIN, &SEMI_JOIN, &INTERVAL_JOIN].into_iter().for_each(keeps);
}

#[test]
fn groups_and_what_mends_changelogs_keep_their_state() {
    [&GROUPS, &NORMALIZE, &MATERIALIZER].into_iter().for_each(keeps);
}

#[test]
fn other_windows_keys_and_types_are_refused() {
    [&TUMBLE, &HOP, &CUMULATE, &SESSION, &SESSION_ROWS]
        .into_iter()
        .for_each(refuses);
}

#[test]
fn other_joins_of_rows_and_windows_are_refused() {
    [&WINDOW_RANK, &WINDOW_JOIN, &JOIN, &SEMI_JOIN, &INTERVAL_JOIN]
        .into_iter()
        .for_each(refuses);
}

#[test]
fn other_orders_frames_and_ranges_are_refused() {
    let all = [
        &OVER_ROWS,
        &OVER_RANGE,
        &OVER_RUNNING,
        &TOP_2,
        &TOP_OF_GROUPS,
        &FIRST_BY_ARRIVAL,
        &FIRST_BY_TIME,
        &LAST_BY_TIME,
    ];
    all.into_iter().for_each(refuses);
}

#[test]
fn other_groups_and_changelogs_are_refused() {
    [&GROUPS, &NORMALIZE, &MATERIALIZER].into_iter().for_each(refuses);
}
