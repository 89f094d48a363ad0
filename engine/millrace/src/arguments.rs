//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "millrace",
    version,
    about = "A stream-processing engine that is Apache Flink from the outside: Flink SQL in, exactly-once out",
    after_help = "Examples:\n  \
        millrace run examples/hello.sql\n  \
        millrace run job.sql -D parallelism.default=4 -D execution.checkpointing.interval='1 s' \\\n      \
        -D execution.checkpointing.dir=s3://bucket/checkpoints\n  \
        millrace explain job.sql\n  \
        millrace state inspect s3://bucket/checkpoints/<job>/chk-12"
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the jobs of a SQL file until they end, or until Ctrl-C or SIGTERM stops them with a checkpoint
    #[command(after_help = "\
An unfinished run of the same job is resumed from its last checkpoint by itself: a job is found again \
by pipeline.name in the checkpoint folder execution.checkpointing.dir. A finished job starts anew.

Exit codes: 0 when the job is done or was stopped with a checkpoint, 1 when it failed, 2 for wrong arguments.

Logging: the environment variable RUST_LOG takes levels, such as 'info' or 'millrace=debug'.")]
    Run(Run),
    /// Run the jobs of a SQL file on TaskManagers: the JobManager of an application cluster
    #[command(
        name = "standalone-job",
        after_help = "\
TaskManagers register at jobmanager.rpc.port (6123) of jobmanager.bind-host; the jobs wait for as many slots as they \
need, at most slot.request.timeout. A TaskManager that is lost costs a restart from the last checkpoint.

Example:
  millrace standalone-job job.sql -D jobmanager.bind-host=0.0.0.0 -D parallelism.default=4"
    )]
    StandaloneJob(StandaloneJob),
    /// Take jobs and TaskManagers: the JobManager of a session cluster
    #[command(
        name = "jobmanager",
        after_help = "\
TaskManagers register at jobmanager.rpc.port (6123) of jobmanager.bind-host.

Example:
  millrace jobmanager -D jobmanager.bind-host=0.0.0.0"
    )]
    JobManager(Settings),
    /// Run subtasks for a JobManager
    #[command(
        name = "taskmanager",
        after_help = "\
Example:
  millrace taskmanager -D jobmanager.rpc.address=jobmanager -D taskmanager.numberOfTaskSlots=2 \\
      -D taskmanager.bind-host=0.0.0.0

At SIGTERM its subtasks are moved to other TaskManagers after a checkpoint, where those have free slots; it waits for \
that at most millrace.taskmanager.drain-timeout (20 s)."
    )]
    TaskManager(Settings),
    /// Show the plan of every job of a SQL file; nothing is started
    #[command(after_help = "\
With --compatible-with, each operator with state is kept (same uid, same keys and fields), new (starts empty), \
lost (the job has no operator of its uid) or incompatible (it keeps other keys, fields or rows of the same tables). The exit code is 1 \
when state is incompatible, or lost without --allow-non-restored-state; `millrace run` refuses both.")]
    Explain(Explain),
    /// Look into the state of checkpoints
    #[command(subcommand)]
    State(State),
    /// Print a completion script for a shell
    #[command(after_help = "Example: millrace completions bash > /etc/bash_completion.d/millrace")]
    Completions { shell: clap_complete::Shell },
}

#[derive(Args)]
pub struct Common {
    /// The SQL file; '-' reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Args)]
pub struct Settings {
    /// Set a configuration option, under Flink's key; stronger than config.yaml, weaker than SET in the file
    #[arg(short = 'D', value_name = "KEY=VALUE", value_parser = key_value)]
    pub options: Vec<(String, String)>,

    /// The folder of config.yaml
    #[arg(long, value_name = "FOLDER", env = "FLINK_CONF_DIR")]
    pub config_dir: Option<PathBuf>,

    /// More lines of config.yaml, stronger than the file: what an image takes from FLINK_PROPERTIES.
    #[arg(skip)]
    pub properties: Option<String>,

    /// Options that are weaker than all that is given.
    #[arg(skip)]
    pub defaults: &'static [(&'static str, &'static str)],
}

#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    pub common: Common,

    /// Start from this checkpoint: the path or URI of its folder, .../chk-<n>
    #[arg(long, value_name = "CHECKPOINT", conflicts_with = "fresh")]
    pub from: Option<String>,

    /// Start anew even if an unfinished run is there; what its last checkpoint holds is committed
    #[arg(long)]
    pub fresh: bool,

    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Args)]
pub struct StandaloneJob {
    #[command(flatten)]
    pub common: Common,

    /// The job's id, 32 hexadecimal digits; made of its name if not given
    #[arg(long = "job-id", visible_alias = "jobid", value_name = "ID")]
    pub job_id: Option<String>,

    /// Start from this checkpoint or savepoint, unless an unfinished run of the same id is there: the path or URI of its folder
    #[arg(
        short = 's',
        long = "fromSavepoint",
        visible_alias = "from",
        value_name = "SAVEPOINT"
    )]
    pub from: Option<String>,

    /// State of operators that the job does not have is left out
    #[arg(short = 'n', long = "allowNonRestoredState")]
    pub allow_non_restored_state: bool,

    /// Whose the restored checkpoint is: CLAIM (the job deletes it once it has one of its own) or NO_CLAIM
    #[arg(long = "claimMode", visible_alias = "restoreMode", value_name = "MODE")]
    pub claim_mode: Option<String>,
}

#[derive(Args)]
pub struct Explain {
    #[command(flatten)]
    pub common: Common,

    /// Say too what becomes of this checkpoint's state in the job: its folder, .../chk-<n>
    #[arg(long, value_name = "CHECKPOINT")]
    pub compatible_with: Option<String>,

    /// State of operators that the job does not have is no failure
    #[arg(long, requires = "compatible_with")]
    pub allow_non_restored_state: bool,
}

#[derive(Subcommand)]
pub enum State {
    /// Show what a checkpoint holds: operators, their tables, rows and bytes
    #[command(after_help = "\
The files of keyed state are fetched and their checksums compared; for as long as that takes, they lie in \
a folder of state.backend.rocksdb.localdir or io.tmp.dirs. Nothing of the checkpoint is changed. A large \
table's rows are not counted but estimated by RocksDB: such a number is shown with '~', and in JSON as \
\"rows_are_exact\": false.

Examples:
  millrace state inspect /var/lib/millrace/<job>/chk-12
  millrace state inspect s3://bucket/checkpoints/<job>/chk-12/_metadata --json")]
    Inspect(Inspect),
}

#[derive(Args)]
pub struct Inspect {
    /// The checkpoint: the path or URI of its folder, .../chk-<n>, or of its _metadata
    #[arg(value_name = "CHECKPOINT")]
    pub path: String,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub settings: Settings,
}

pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), unquoted(value).to_owned()))
        }
        _ => Err("give it as key=value, such as -D parallelism.default=2".to_owned()),
    }
}

/// Shell quotes that a file or a manifest kept around a value.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    for quote in ['\'', '"'] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_are_read_with_and_without_quotes() {
        let read = |text: &str| key_value(text).unwrap();
        assert_eq!(read("a.b='1 s'"), ("a.b".into(), "1 s".into()));
        assert_eq!(read("a.b=x=y"), ("a.b".into(), "x=y".into()));
        assert!(key_value("a.b").is_err());
        assert!(Arguments::try_parse_from(["millrace", "run", "f", "--fresh", "--from", "p"]).is_err());
    }
}
