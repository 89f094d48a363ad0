//! Every job of this folder runs and gives what it says. flights.sql is run by the replay of a few
//! hundred flights; `make run` gives it the whole year.

mod files;
mod flights;
mod printed;

use std::path::Path;

use millrace_testkit::scratch::Scratch;

/// A folder to run a job in, with this folder's jobs and data below `examples`.
fn workspace(name: &str) -> Scratch {
    let scratch = Scratch::new(name).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_MANIFEST_DIR"), scratch.join("examples")).unwrap();
    scratch
}

/// All lines of the finished files below a folder; parts in progress begin with a dot.
fn lines(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for path in files(folder) {
        lines.extend(std::fs::read_to_string(path).unwrap().lines().map(str::to_owned));
    }
    lines.sort();
    lines
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(['.', '_']))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn no_job_is_without_a_test() {
    let mut jobs: Vec<String> = files(Path::new(env!("CARGO_MANIFEST_DIR")))
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "sql"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    jobs.sort();
    assert_eq!(
        jobs,
        ["csv-to-json", "flights", "hello", "statement-set", "to-parquet"]
    );
}
