//! The command as a person meets it: its output, its errors, its exit codes, its signals.

mod changed_job;
mod changed_state;
mod compatibility;
mod memory;
mod schemas;
mod state;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use millrace_testkit::engine;

fn millrace(arguments: &[&str]) -> Command {
    let mut command = engine::command().unwrap();
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> Output {
    millrace(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

/// Runs a job that must be refused, and gives what it says.
fn refused(sql: &str, arguments: &[&str]) -> String {
    let folder = Folder::new();
    let file = folder.write("job.sql", sql);
    let output = output(&[&["run", &file], arguments].concat());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

const ENDLESS: &str = "
    SET 'pipeline.name' = 'endless';
    CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000',
      'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000000');
    CREATE TABLE hole (n BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO hole SELECT n FROM numbers;";

#[test]
fn help_names_every_command_and_says_what_it_takes() {
    let help = text(&output(&["--help"]).stdout);
    for part in [
        "run",
        "explain",
        "completions",
        "state",
        "Examples:",
        "millrace run job.sql",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
    let help = text(&output(&["run", "--help"]).stdout);
    for part in [
        "--from",
        "--fresh",
        "-D",
        "KEY=VALUE",
        "Exit codes",
        "pipeline.name",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
    assert_eq!(output(&["run"]).status.code(), Some(2), "wrong arguments");
}

#[test]
fn completions_are_there_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&output(&["completions", shell]).stdout);
        assert!(
            script.contains("millrace") && script.contains("fresh"),
            "{shell}: {script}"
        );
    }
}

#[test]
fn explain_shows_the_plan_and_starts_nothing() {
    let folder = Folder::new();
    let file = folder.write("job.sql", ENDLESS);
    let output = output(&["explain", &file]);
    let plan = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        plan.contains("TableSourceScan") && plan.contains("hole"),
        "{plan}"
    );
}

#[test]
fn an_error_of_sql_shows_the_line_and_a_caret() {
    let said = refused(
        "CREATE TABLE t (a INT) WITH ('connector' = 'blackhole');\nINSERT INTO t\nSELECT b FROM t;",
        &[],
    );
    assert!(said.contains("line 3") && said.contains('^'), "{said}");
}

#[test]
fn what_cannot_run_is_said_before_anything_starts() {
    let table = |options: &str| format!("CREATE TABLE t (a INT) WITH ({options}); INSERT INTO t VALUES (1);");
    for (sql, part) in [
        (table("'connector' = 'nothing'"), "unknown connector 'nothing'"),
        (
            table("'connector' = 'blackhole', 'x' = 'y'"),
            "unknown option 'x'",
        ),
        (
            table("'connector' = 'filesystem'"),
            "lacks the required option 'format'",
        ),
        (
            table("'connector' = 'filesystem', 'path' = '/nowhere', 'format' = 'avro'"),
            "the format 'avro' of the filesystem table 't'",
        ),
        (
            table("'connector' = 'filesystem', 'path' = '/nowhere', 'format' = 'avro'"),
            "Avro in files stands in containers",
        ),
        (
            table("'connector' = 'print', 'standard-error' = 'perhaps'"),
            "'true' or 'false'",
        ),
    ] {
        let said = refused(&sql, &[]);
        assert!(said.contains(part), "{part} in {said}");
    }
    let said = refused(ENDLESS, &["-D", "millrace.batch.max-row=1"]);
    assert!(said.contains("millrace.batch.max-rows"), "{said}");
    let said = refused(ENDLESS, &["-D", "parallelism.default=two"]);
    assert!(
        said.contains("parallelism.default: 'two'") && said.contains("whole number"),
        "{said}"
    );
    let said = refused(ENDLESS, &["-D", "execution.checkpointing.interval=1 s"]);
    assert!(said.contains("execution.checkpointing.dir"), "{said}");
    let said = refused(&format!("{ENDLESS} INSERT INTO hole SELECT n FROM numbers;"), &[]);
    assert!(said.contains("same name"), "{said}");
    assert_eq!(output(&["run", "/no/such/file.sql"]).status.code(), Some(1));
}

/// Runs a bounded job to its end, and gives what it prints.
fn printed(sql: &str) -> String {
    let folder = Folder::new();
    let file = folder.write("job.sql", sql);
    let output = output(&["run", &file]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

const TEN: &str = "
    CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen',
      'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '10');
    CREATE TABLE shown (n BIGINT) WITH ('connector' = 'print');";

#[test]
fn a_condition_of_thousands_of_parts_runs() {
    for (connective, operator, rows) in [("AND", "<>", 9), ("OR", "=", 1)] {
        let parts: Vec<String> = (10..5010).map(|i| format!("n {operator} {i}")).collect();
        let condition = parts.join(&format!(" {connective} "));
        let said = printed(&format!(
            "{TEN} INSERT INTO shown SELECT n FROM numbers WHERE {condition};"
        ));
        assert_eq!(said.lines().count(), rows, "{connective}: {said}");
    }
}

#[test]
fn queries_within_queries_whose_expressions_are_deep_run() {
    let sum = format!("n{}", " + 1".repeat(250));
    let mut query = "SELECT n FROM numbers".to_owned();
    for _ in 0..55 {
        query = format!("SELECT {sum} AS n FROM ({query})");
    }
    let said = printed(&format!("{TEN} INSERT INTO shown {query};"));
    assert!(said.contains("+I[13760]"), "{said}");
}

/// A running job whose log can be waited on.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(file: &str, checkpoints: &Path) -> Self {
        Running::start_with(file, checkpoints, &[])
    }

    fn start_with(file: &str, checkpoints: &Path, more: &[&str]) -> Self {
        let folder = format!("execution.checkpointing.dir={}", checkpoints.display());
        let mut child = millrace(&[
            "run",
            file,
            "-D",
            "execution.checkpointing.interval=50 ms",
            "-D",
            &folder,
        ])
        .args(more)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Running { child, log }
    }

    /// Reads on until a line has this part; the job's end before it is a failure.
    fn wait_for(&mut self, part: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "the job ended before '{part}'"
            );
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends a signal and gives the exit code with what was still said.
    fn signal(mut self, name: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

#[test]
fn signals_stop_with_a_checkpoint_and_the_next_run_resumes() {
    let folder = Folder::new();
    let file = folder.write("job.sql", ENDLESS);
    let checkpoints = folder.path("checkpoints");
    let mut from = "the beginning".to_owned();
    for signal in ["TERM", "INT", "TERM"] {
        let mut job = Running::start(&file, &checkpoints);
        let started = job.wait_for("starting");
        assert!(started.contains(&from), "{from} in {started}");
        job.wait_for("checkpoint");
        let (code, said) = job.signal(signal);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("stopped"), "{said}");
        from = "checkpoint".to_owned();
    }
    let fresh = millrace(&["run", &file, "--fresh", "-D"])
        .arg(format!("execution.checkpointing.dir={}", checkpoints.display()))
        .args(["-D", "millrace.nothing=1"])
        .output()
        .unwrap();
    assert_eq!(
        fresh.status.code(),
        Some(1),
        "refused before the earlier run is touched"
    );
    let mut job = Running::start(&file, &checkpoints);
    assert!(job.wait_for("starting").contains("from=\"checkpoint"));
    assert_eq!(job.signal("TERM").0, Some(0));
}

#[test]
fn a_checkpoint_that_is_not_there_is_a_clear_error() {
    let folder = Folder::new();
    let checkpoints = format!("execution.checkpointing.dir={}", folder.path("c").display());
    let missing = folder.path("c/0123/chk-7").display().to_string();
    let said = refused(ENDLESS, &["-D", &checkpoints, "--from", &missing]);
    assert!(
        said.contains("no checkpoint at that place") && said.contains("chk-7"),
        "{said}"
    );
    let said = refused(ENDLESS, &["--from", &missing]);
    assert!(said.contains("execution.checkpointing.dir"), "{said}");
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn whoever_stops_reading_standard_output_makes_no_error() {
    let folder = Folder::new();
    let file = folder.write("job.sql", ENDLESS);
    for arguments in [&["completions", "bash"][..], &["explain", &file], &["--help"]] {
        let output = millrace(arguments).stdout(closed()).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_job_whose_log_nobody_reads_goes_on_and_stops_with_a_checkpoint() {
    let folder = Folder::new();
    let file = folder.write("job.sql", ENDLESS);
    let checkpoints = folder.path("checkpoints");
    let option = format!("execution.checkpointing.dir={}", checkpoints.display());
    let interval = "execution.checkpointing.interval=50 ms";
    let mut child = millrace(&["run", &file, "-D", interval, "-D", &option])
        .env("RUST_LOG", "info")
        .stderr(closed())
        .spawn()
        .unwrap();
    // More than a second of them, so that progress was shown too.
    let newest = || newest_checkpoint(&checkpoints);
    while newest() < Some(40) {
        assert_eq!(child.try_wait().unwrap(), None, "the job ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let before = newest();
    let id = child.id().to_string();
    let kill = Command::new("kill").args(["-s", "TERM", &id]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(newest() >= before);

    let error = millrace(&["run", "/no/such/file.sql"])
        .stderr(closed())
        .status()
        .unwrap();
    assert_eq!(error.code(), Some(1));
}

/// The number of the newest checkpoint in a folder of one job.
fn newest_checkpoint(folder: &Path) -> Option<u64> {
    let job = std::fs::read_dir(folder).ok()?.next()?.ok()?.path();
    std::fs::read_dir(job)
        .ok()?
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_prefix("chk-")?
                .parse()
                .ok()
        })
        .max()
}

#[test]
fn a_configuration_that_is_not_there_is_an_error() {
    let said = refused(ENDLESS, &["--config-dir", "/no/such/folder"]);
    assert!(
        said.contains("/no/such/folder/config.yaml") && said.contains("--config-dir"),
        "{said}"
    );
}
