//! Queries that Apache Flink 2.1.1 has run too: what comes out must be the same. See README.md.

mod compare;
mod run;
mod variants;

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use compare::{Comparison, with_watermarks};
use variants::{ALL, Variant};

struct Golden {
    name: String,
    comparison: Comparison,
    /// What comes out depends on the order of rows that other subtasks give.
    in_order: bool,
    /// What comes out depends on which rows a mini-batch holds.
    without_mini_batches: bool,
    /// The rows are compared with the watermark before each, too.
    per_watermark: bool,
    /// All statements but the last, and the last.
    before: String,
    query: String,
    /// As Flink names and types them.
    columns: Vec<String>,
    rows: Vec<String>,
    /// The same with the watermark before each as their last column.
    rows_with_watermarks: Vec<String>,
    /// Rows of every source before the checkpoint in the middle.
    rows_before_checkpoint: usize,
}

impl Golden {
    /// Whether the query is an INSERT, into files.
    fn writes(&self) -> bool {
        self.query.starts_with("INSERT")
    }

    fn has_mini_batches(&self) -> bool {
        self.before.contains("'table.exec.mini-batch.enabled' = 'true'")
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The folder with what Flink gave.
fn results() -> PathBuf {
    match std::env::var_os("GOLDEN_RESULTS") {
        Some(live) => PathBuf::from(live),
        None => folder().join("results"),
    }
}

/// The queries of a run: all that `GOLDEN_RESULTS` has results of, or those whose name contains `GOLDEN`.
fn chosen() -> Vec<Golden> {
    let only = std::env::var("GOLDEN").ok();
    let is_chosen = |file: &PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let is_live = std::env::var_os("GOLDEN_RESULTS").is_some();
        only.as_ref().is_none_or(|only| name.contains(only))
            && (!is_live || results().join(format!("{name}.txt")).exists())
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder().join("queries"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(is_chosen)
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no query is chosen");
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
    let (comparison, without_mini_batches) = without(comparison, " without mini-batches");
    let (comparison, in_order) = without(comparison, " at parallelism 1");
    let (comparison, per_watermark) = without(comparison, " per watermark");
    let result = fs::read_to_string(results().join(format!("{name}.txt")))
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
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    Golden {
        comparison: Comparison::parse(comparison).unwrap_or_else(|| panic!("{name}: '{comparison}'")),
        in_order,
        without_mini_batches,
        per_watermark,
        name,
        before,
        query,
        columns: match columns {
            "" => Vec::new(),
            columns => columns_of(columns),
        },
        rows_with_watermarks: match per_watermark {
            true => with_watermarks(&lines),
            false => Vec::new(),
        },
        rows: lines.into_iter().filter(|line| !line.starts_with('@')).collect(),
        rows_before_checkpoint: rows_before_checkpoint(&script),
    }
}

/// A text without what it may end with, and whether it did.
fn without<'a>(text: &'a str, end: &str) -> (&'a str, bool) {
    match text.strip_suffix(end) {
        Some(text) => (text, true),
        None => (text, false),
    }
}

/// What a line `-- checkpoint after: ROWS` says, or half of the rows of the largest input.
fn rows_before_checkpoint(script: &str) -> usize {
    let told = script
        .lines()
        .find_map(|line| line.strip_prefix("-- checkpoint after: "));
    if let Some(rows) = told {
        return rows.parse().unwrap();
    }
    let rows = |input: &PathBuf| fs::read_to_string(input).unwrap().lines().count();
    let largest = inputs(script).iter().map(rows).max().unwrap_or_default();
    (largest / 2).max(1)
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

/// Runs each query as told, and fails with all that differ.
fn check<'a>(runs: impl IntoIterator<Item = (&'a Golden, &'a Variant)>) {
    let mut count = 0;
    let mut failures = Vec::new();
    for (golden, variant) in runs {
        count += 1;
        let difference = variant.difference(golden);
        failures.extend(difference.map(|d| format!("== {}, {}\n{d}", golden.name, variant.name)));
    }
    assert!(
        failures.is_empty(),
        "{} of {count} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn changelogs_are_flinks() {
    let queries = chosen();
    check(queries.iter().flat_map(|golden| {
        let timed = golden.per_watermark.then_some(&variants::PER_WATERMARK);
        std::iter::once(&variants::PLAIN)
            .chain(timed)
            .map(move |variant| (golden, variant))
    }));
}

/// `GOLDEN_VARIANTS` is `all`, a variant's name, or `rotating`, which takes one of each query, by
/// `GOLDEN_SEED` or else the day.
#[test]
fn variants_are_flinks() {
    let which = std::env::var("GOLDEN_VARIANTS").unwrap_or_else(|_| "rotating".to_owned());
    let queries = chosen();
    let runs = |golden| ALL.iter().filter(move |variant| variant.applies(golden));
    match which.as_str() {
        "rotating" => {
            let day = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
            let seed = std::env::var("GOLDEN_SEED").unwrap_or_else(|_| day().to_string());
            println!("one variant of each query; GOLDEN_SEED={seed} chooses the same ones");
            check(queries.iter().filter_map(|golden| {
                let variants: Vec<_> = runs(golden).collect();
                let digest = Sha256::digest(format!("{} {seed}", golden.name));
                let at = usize::from(u16::from_le_bytes([digest[0], digest[1]]));
                Some((golden, *variants.get(at.checked_rem(variants.len())?)?))
            }));
        }
        "all" => check(
            queries
                .iter()
                .flat_map(|golden| runs(golden).map(move |variant| (golden, variant))),
        ),
        name => {
            assert!(ALL.iter().any(|v| v.name == name), "there is no variant '{name}'");
            let of_name = |golden| runs(golden).find(|variant| variant.name == name);
            check(
                queries
                    .iter()
                    .filter_map(|golden| Some((golden, of_name(golden)?))),
            );
        }
    }
}
