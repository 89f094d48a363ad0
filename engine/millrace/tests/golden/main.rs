//! Queries that Apache Flink 2.1.1 has run too: what comes out must be the same. See README.md.

mod compare;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use compare::Comparison;

struct Golden {
    name: String,
    comparison: Comparison,
    /// What comes out depends on the order of rows that other subtasks give.
    in_order: bool,
    /// All statements but the last, and the last.
    before: String,
    query: String,
    /// As Flink names and types them.
    columns: Vec<String>,
    rows: Vec<String>,
}

impl Golden {
    /// Whether the query is an INSERT, into files.
    fn writes(&self) -> bool {
        self.query.starts_with("INSERT")
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn goldens() -> Vec<Golden> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder().join("queries"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| golden(file)).collect()
}

fn golden(file: &Path) -> Golden {
    let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
    let script = fs::read_to_string(file).unwrap();
    let comparison = script
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("-- compare: "))
        .unwrap_or_else(|| panic!("{name} does not say how it is compared"));
    let (comparison, in_order) = match comparison.strip_suffix(" at parallelism 1") {
        Some(comparison) => (comparison, true),
        None => (comparison, false),
    };
    let result = fs::read_to_string(folder().join("results").join(format!("{name}.txt")))
        .unwrap_or_else(|e| panic!("{name} has no result, run refresh: {e}"));
    let mut lines = result.lines();
    let header = format!(
        "# flink 2.1.1, query {}, inputs {}",
        hash(&[file.to_owned()]),
        hash(&inputs(&script))
    );
    assert_eq!(
        lines.next(),
        Some(header.as_str()),
        "{name} has changed since it ran on Flink: run refresh"
    );
    let columns = lines.next().unwrap_or_default();
    let code: Vec<&str> = script.lines().filter(|l| !l.starts_with("--")).collect();
    let code = code
        .join("\n")
        .replace("${inputs}", folder().join("inputs").to_str().unwrap());
    let code = code.trim_end().trim_end_matches(';').to_owned();
    let (before, query) = match code.rfind(";\n") {
        Some(at) => (code[..=at].to_owned(), code[at + 2..].to_owned()),
        None => (String::new(), code),
    };
    Golden {
        comparison: Comparison::parse(comparison).unwrap_or_else(|| panic!("{name}: '{comparison}'")),
        in_order,
        name,
        before,
        query,
        columns: match columns {
            "" => Vec::new(),
            columns => columns_of(columns),
        },
        rows: lines.map(str::to_owned).collect(),
    }
}

/// `a INT, b DECIMAL(10, 2)` by column, names in backquotes.
fn columns_of(line: &str) -> Vec<String> {
    let mut columns = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (i, c) in line.char_indices().chain([(line.len(), ',')]) {
        match c {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            ',' if depth == 0 => {
                let (name, data_type) = line[start..i].trim().split_once(' ').unwrap();
                columns.push(format!("`{name}` {data_type}"));
                start = i + 1;
            }
            _ => {}
        }
    }
    columns
}

fn inputs(script: &str) -> Vec<PathBuf> {
    let mut names: Vec<&str> = script
        .split("${inputs}/")
        .skip(1)
        .filter_map(|rest| rest.split('\'').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| folder().join("inputs").join(name))
        .collect()
}

fn hash(files: &[PathBuf]) -> String {
    let mut digest = Sha256::new();
    for file in files {
        digest.update(fs::read(file).unwrap());
    }
    hex::encode(digest.finalize())[..16].to_owned()
}

/// The changelog that the engine gives.
fn run(golden: &Golden, settings: &[&str]) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("job.sql");
    let output_folder = folder.path().join("output");
    let sink = golden.columns.join(", ");
    let text = match golden.writes() {
        true => format!("{}\n{};\n", golden.before, golden.query),
        false => format!(
            "{}\nCREATE TABLE golden_result ({sink}) WITH ('connector' = 'print');\n\
             INSERT INTO golden_result\n{};\n",
            golden.before, golden.query
        ),
    };
    fs::write(
        &script,
        text.replace("${output}", output_folder.to_str().unwrap()),
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command
        .arg("run")
        .arg(&script)
        .env_remove("RUST_LOG")
        .env_remove("FLINK_CONF_DIR");
    for setting in ["table.local-time-zone=UTC"].iter().chain(settings) {
        command.arg("-D").arg(setting);
    }
    let output = command.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    if golden.writes() {
        return Ok(written(&output_folder));
    }
    let text = String::from_utf8(output.stdout).unwrap();
    Ok(text
        .lines()
        // Where there are several subtasks, `print` says which: `2> +I[...]`.
        .map(|line| match line.split_once("> ") {
            Some((subtask, row)) if subtask.bytes().all(|b| b.is_ascii_digit()) => row,
            _ => line,
        })
        .filter(|line| {
            ["+I[", "-U[", "+U[", "-D["]
                .iter()
                .any(|kind| line.starts_with(kind))
        })
        .map(str::to_owned)
        .collect())
}

/// The records of Debezium in a folder's files, as rows: their kind, and their columns as written.
fn written(folder: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
        .collect();
    files.sort();
    let texts: Vec<String> = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let row = |record: &str| {
        let created = record.strip_prefix("{\"before\":null,\"after\":");
        match created.and_then(|r| r.strip_suffix(",\"op\":\"c\"}")) {
            Some(row) => format!("+I{row}"),
            None => {
                let deleted = record.strip_prefix("{\"before\":").unwrap();
                format!(
                    "-D{}",
                    deleted.strip_suffix(",\"after\":null,\"op\":\"d\"}").unwrap()
                )
            }
        }
    };
    texts.iter().flat_map(|text| text.lines()).map(row).collect()
}

fn check(settings: &[&str], comparison: impl Fn(&Golden) -> Option<Comparison>) {
    let only = std::env::var("GOLDEN").ok();
    let mut failures = Vec::new();
    let all: Vec<Golden> = goldens()
        .into_iter()
        .filter(|golden| only.as_ref().is_none_or(|only| golden.name.contains(only)))
        .collect();
    for golden in &all {
        let Some(comparison) = comparison(golden) else {
            continue;
        };
        let difference = match run(golden, settings) {
            Ok(rows) => comparison.difference(&golden.rows, &rows),
            Err(error) => Some(error),
        };
        failures.extend(difference.map(|d| format!("== {}\n{d}", golden.name)));
    }
    assert!(
        failures.is_empty(),
        "{} of {} differ:\n{}",
        failures.len(),
        all.len(),
        failures.join("\n")
    );
}

#[test]
fn changelogs_are_flinks() {
    check(&[], |golden| Some(golden.comparison.clone()));
}

#[test]
fn tables_are_flinks_at_parallelism_3() {
    // Which rows are late must not depend on which subtask is quicker.
    let from_one = ["parallelism.default=3", "millrace.source.parallelism=1"];
    check(&from_one, |golden| match &golden.comparison {
        Comparison::Upserts(_) => None,
        _ => (!golden.in_order).then_some(Comparison::Table),
    });
    check(&["parallelism.default=3"], |golden| match &golden.comparison {
        Comparison::Upserts(columns) if !golden.in_order => Some(Comparison::Last(columns.clone())),
        _ => None,
    });
}

#[test]
fn small_batches_change_nothing() {
    for rows in ["millrace.batch.max-rows=1", "millrace.batch.max-rows=3"] {
        check(&[rows], |golden| Some(golden.comparison.clone()));
    }
}

#[test]
fn mini_batches_leave_the_same_tables() {
    let enabled = [
        "table.exec.mini-batch.enabled=true",
        "table.exec.mini-batch.allow-latency=1 s",
    ];
    let settings = [
        [
            "table.exec.mini-batch.size=2",
            "table.optimizer.agg-phase-strategy=ONE_PHASE",
        ],
        [
            "table.exec.mini-batch.size=5",
            "table.optimizer.agg-phase-strategy=TWO_PHASE",
        ],
    ];
    for settings in settings {
        check(&[enabled, settings].concat(), |golden| {
            (!golden.in_order).then_some(Comparison::Table)
        });
    }
}
