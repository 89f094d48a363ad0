//! The engine as a process that runs a golden query, and what it gives.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use millrace_testkit::engine;
use tempfile::TempDir;

use crate::Golden;

/// A folder with a query's script, what its runs write, and their checkpoints.
pub struct Bench {
    folder: TempDir,
    script: PathBuf,
}

/// Where the rows of a query go that does not say so itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    Print,
    /// `debezium-json` in files, which are exactly-once.
    Files,
}

const FILES: &str = "('connector' = 'filesystem', 'path' = '${output}', 'format' = 'debezium-json')";

impl Bench {
    pub fn new(golden: &Golden, sink: Sink) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let columns = golden.columns.join(", ");
        let options = match sink {
            Sink::Print => "('connector' = 'print')",
            Sink::Files => FILES,
        };
        let text = match golden.writes() {
            true => format!("{}\n{};\n", golden.before, golden.query),
            false => format!(
                "{}\nCREATE TABLE golden_result ({columns}) WITH {options};\n\
                 INSERT INTO golden_result\n{};\n",
                golden.before, golden.query
            ),
        };
        let bench = Bench {
            script: folder.path().join("job.sql"),
            folder,
        };
        bench.write(&bench.script, &text);
        bench
    }

    fn write(&self, script: &Path, text: &str) {
        fs::write(script, text.replace("${output}", self.output().to_str().unwrap())).unwrap();
    }

    pub fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    /// The option with which runs find the checkpoints of those before them.
    pub fn checkpoints(&self) -> String {
        format!(
            "execution.checkpointing.dir={}",
            self.folder.path().join("checkpoints").display()
        )
    }

    fn execute(&self, script: &Path, settings: &[&str], fail_point: Option<&str>) -> Output {
        let mut command = engine::command().unwrap();
        command.arg("run").arg(script);
        if let Some(point) = fail_point {
            command.env("MILLRACE_FAIL_POINT", point);
        }
        for setting in ["table.local-time-zone=UTC"].iter().chain(settings) {
            command.arg("-D").arg(setting);
        }
        command.output().unwrap()
    }

    /// Runs the query to its end, or until it stops; what was printed and what was logged.
    pub fn run(&self, settings: &[&str]) -> Result<(Vec<String>, String), String> {
        let output = self.execute(&self.script, settings, None);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok((printed(&output.stdout), log)),
            false => Err(log),
        }
    }

    /// Runs the query until it dies at a fail point.
    pub fn run_to(&self, settings: &[&str], fail_point: &str) -> Result<(), String> {
        let output = self.execute(&self.script, settings, Some(fail_point));
        match output.status.signal() {
            Some(9) => Ok(()),
            _ => Err(format!(
                "it ended with {} and did not die at {fail_point}:\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }

    /// The rows that the files hold, read by the engine: as it prints them.
    pub fn read_back(&self, golden: &Golden) -> Result<Vec<String>, String> {
        // A query without a result writes no file.
        if self.files().is_empty() {
            return Ok(Vec::new());
        }
        let script = self.folder.path().join("read.sql");
        let columns = golden.columns.join(", ");
        let text = format!(
            "CREATE TABLE written ({columns}) WITH {FILES};\n\
             CREATE TABLE golden_result ({columns}) WITH ('connector' = 'print');\n\
             INSERT INTO golden_result SELECT * FROM written;\n"
        );
        self.write(&script, &text);
        let output = self.execute(&script, &[], None);
        match output.status.success() {
            true => Ok(printed(&output.stdout)),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The finished files of the output, by name.
    pub fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.output()) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
            .collect();
        files.sort();
        files
    }
}

/// The rows that the connector `print` has written.
fn printed(stdout: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stdout);
    text.lines()
        // Where there are several subtasks, `print` says which: `2> +I[...]`.
        .map(|line| match line.split_once("> ") {
            Some((subtask, row)) if subtask.bytes().all(|b| b.is_ascii_digit()) => row,
            _ => line,
        })
        .filter(|line| {
            ["+I[", "-U[", "+U[", "-D[", "@"]
                .iter()
                .any(|kind| line.starts_with(kind))
        })
        .map(str::to_owned)
        .collect()
}

/// The records of Debezium in files, as rows: their kind, and their columns as written.
pub fn written(files: &[PathBuf]) -> Vec<String> {
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
