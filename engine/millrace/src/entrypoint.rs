//! The contract of Apache Flink's image: `/docker-entrypoint.sh` is a link to this binary, which then takes the
//! arguments and the environment that Flink's image does. No shell is needed for it.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};
use millrace_core::{Error, Result};

use crate::arguments::{self, Common, Settings, key_value};
use crate::cluster;

/// The name that Flink's image has for it.
const NAME: &str = "docker-entrypoint.sh";
/// Where Flink's image has its configuration.
const CONFIGURATION: &str = "/opt/flink/conf";
/// Flink's own way to run a file of SQL as an application; its arguments mean the same here.
const SQL_DRIVER: &str = "org.apache.flink.table.runtime.application.SqlDriver";

/// Whether the binary was started as the entrypoint of an image.
pub fn is_meant(program: Option<&OsStr>) -> bool {
    program.is_some_and(|path| Path::new(path).file_name() == Some(OsStr::new(NAME)))
}

#[derive(Parser)]
#[command(
    name = NAME,
    version,
    about = "Millrace by the arguments of Apache Flink's image",
    after_help = "Any other word is a command that is run as it is, such as: millrace explain job.sql\n\n\
        Environment: FLINK_PROPERTIES (the lines of a config.yaml; stronger than the file, weaker than -D), \
        FLINK_CONF_DIR, JOB_MANAGER_RPC_ADDRESS, TASK_MANAGER_NUMBER_OF_TASK_SLOTS"
)]
struct Entrypoint {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the jobs of a SQL file on the TaskManagers that register, until they end or SIGTERM stops them with a checkpoint
    #[command(name = "standalone-job")]
    StandaloneJob(StandaloneJob),
    /// Take jobs and TaskManagers, until SIGTERM
    #[command(name = "jobmanager")]
    JobManager(Process),
    /// Run subtasks for a JobManager, until SIGTERM
    #[command(name = "taskmanager")]
    TaskManager(Process),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

#[derive(Args)]
struct StandaloneJob {
    /// The SQL file: its path or file: URI
    #[arg(value_name = "FILE", required_unless_present = "script_uri")]
    file: Option<String>,

    /// The SQL file, as Flink's SqlDriver takes it
    #[arg(long = "scriptUri", value_name = "URI", conflicts_with = "file")]
    script_uri: Option<String>,

    /// Flink's SqlDriver is the one class there is: a job in Java does not run here
    #[arg(short = 'j', long = "job-classname", value_name = "CLASS")]
    class: Option<String>,

    /// The job's id, 32 hexadecimal digits; made of its name if not given
    #[arg(long = "job-id", visible_alias = "jobid", value_name = "ID")]
    job_id: Option<String>,

    /// Start from this checkpoint or savepoint: the path or URI of its folder
    #[arg(short = 's', long = "fromSavepoint", value_name = "SAVEPOINT")]
    from: Option<String>,

    /// State of operators that the job does not have is left out
    #[arg(short = 'n', long = "allowNonRestoredState")]
    allow_non_restored_state: bool,

    /// Whose the restored checkpoint is: CLAIM or NO_CLAIM
    #[arg(long = "claimMode", visible_alias = "restoreMode", value_name = "MODE")]
    claim_mode: Option<String>,

    #[command(flatten)]
    process: Process,
}

#[derive(Args)]
struct Process {
    /// Set a configuration option, under Flink's key
    #[arg(short = 'D', value_name = "KEY=VALUE", value_parser = key_value)]
    options: Vec<(String, String)>,

    /// The folder of config.yaml [default: /opt/flink/conf, if it has one]
    #[arg(
        short = 'c',
        long = "configDir",
        value_name = "FOLDER",
        env = "FLINK_CONF_DIR"
    )]
    config_dir: Option<PathBuf>,
}

/// What Flink's image takes from the environment.
#[derive(Default)]
struct Environment {
    properties: Option<String>,
    /// Options with variables of their own.
    options: Vec<(String, String)>,
}

impl Environment {
    fn of_the_process() -> Self {
        let options = [
            ("JOB_MANAGER_RPC_ADDRESS", "jobmanager.rpc.address"),
            (
                "TASK_MANAGER_NUMBER_OF_TASK_SLOTS",
                "taskmanager.numberOfTaskSlots",
            ),
        ];
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            properties: set("FLINK_PROPERTIES"),
            options: options
                .into_iter()
                .filter_map(|(name, key)| Some((key.to_owned(), set(name)?)))
                .collect(),
        }
    }
}

/// Does what the arguments say. A command that is not the engine's takes this process's place.
pub fn run(arguments: Vec<OsString>) -> Result<()> {
    // As in Flink's image: without a word, and with `help`, what there is.
    let word = arguments.get(1).map(|word| word.to_string_lossy());
    match word.as_deref() {
        None | Some("help") => {
            let help = Entrypoint::command().render_long_help();
            crate::terminal::print(&help.to_string())
        }
        Some(role @ "history-server") => Err(Error::user(format!(
            "a process of its own as {role} is not supported"
        ))
        .with_hint("the JobManager shows jobs that have ended too")),
        _ => {
            let environment = Environment::of_the_process();
            match Entrypoint::parse_from(arguments).command {
                Command::StandaloneJob(job) => cluster::standalone_job(&job.arguments(environment)?),
                Command::JobManager(process) => cluster::job_manager(&process.settings(environment)),
                Command::TaskManager(process) => cluster::task_manager(&process.settings(environment)),
                Command::Other(words) => Err(replace(&words)),
            }
        }
    }
}

impl Process {
    fn settings(self, environment: Environment) -> Settings {
        let configured = Path::new(CONFIGURATION).join("config.yaml").is_file();
        let default = configured.then(|| PathBuf::from(CONFIGURATION));
        let mut options = environment.options;
        options.extend(self.options);
        Settings {
            options,
            config_dir: self.config_dir.or(default),
            properties: environment.properties,
            // A container's own network is its border.
            defaults: &[
                ("jobmanager.bind-host", "0.0.0.0"),
                ("taskmanager.bind-host", "0.0.0.0"),
                ("rest.bind-address", "0.0.0.0"),
            ],
        }
    }
}

impl StandaloneJob {
    fn arguments(self, environment: Environment) -> Result<arguments::StandaloneJob> {
        if let Some(class) = self.class.filter(|class| class != SQL_DRIVER) {
            return Err(Error::user("a job in Java does not run on this engine")
                .with_detail(class)
                .with_hint("write it in SQL: standalone-job FILE.sql; or run it on Apache Flink"));
        }
        let file = self.script_uri.or(self.file).unwrap_or_default();
        Ok(arguments::StandaloneJob {
            common: Common {
                file: local(&file)?,
                settings: self.process.settings(environment),
            },
            job_id: self.job_id,
            from: self.from,
            allow_non_restored_state: self.allow_non_restored_state,
            claim_mode: self.claim_mode,
        })
    }
}

/// The path of a file that is named by it or by a URI.
fn local(file: &str) -> Result<PathBuf> {
    match file.split_once("://") {
        None => Ok(PathBuf::from(file)),
        Some(("file", path)) => Ok(PathBuf::from(path)),
        Some(_) => Err(Error::user("the SQL file is not on this machine")
            .with_detail(file)
            .with_hint("mount it, and give its path or a file: URI")),
    }
}

/// Runs a command in place of this process; comes back with what has kept it from that.
fn replace(words: &[OsString]) -> Error {
    let Some((program, arguments)) = words.split_first() else {
        return Error::user("there is no command");
    };
    let error = std::process::Command::new(program).args(arguments).exec();
    Error::user("the command cannot be run")
        .with_detail(program.to_string_lossy())
        .with_source(error)
        .with_hint("standalone-job FILE.sql runs a job; --help tells what else there is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(words: &[&str]) -> StandaloneJob {
        let words: Vec<&str> = [NAME, "standalone-job"].iter().chain(words).copied().collect();
        match Entrypoint::try_parse_from(&words).unwrap().command {
            Command::StandaloneJob(job) => job,
            _ => panic!("{words:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Entrypoint::command().debug_assert();
    }

    #[test]
    fn the_name_of_the_link_decides() {
        assert!(is_meant(Some(OsStr::new("/docker-entrypoint.sh"))));
        assert!(!is_meant(Some(OsStr::new("/bin/millrace"))));
        assert!(!is_meant(None));
    }

    #[test]
    fn flinks_sql_driver_and_a_bare_file_are_the_same() {
        let bare = job(&["/jobs/a.sql", "-D", "parallelism.default=2"]);
        let driver = job(&[
            "--job-classname",
            SQL_DRIVER,
            "-Dparallelism.default=2",
            "--scriptUri",
            "file:///jobs/a.sql",
        ]);
        for job in [bare, driver] {
            let run = job.arguments(Environment::default()).unwrap();
            assert_eq!(run.common.file, Path::new("/jobs/a.sql"));
            assert_eq!(
                run.common.settings.options,
                [("parallelism.default".to_owned(), "2".to_owned())]
            );
        }
    }

    #[test]
    fn a_class_in_java_and_a_file_elsewhere_are_refused() {
        let error = |words: &[&str]| {
            job(words)
                .arguments(Environment::default())
                .err()
                .unwrap()
                .to_string()
        };
        assert!(error(&["-j", "com.example.Job", "a.sql"]).contains("com.example.Job"));
        assert!(error(&["https://example.com/a.sql"]).contains("not on this machine"));
    }

    #[test]
    fn arguments_are_stronger_than_the_environment() {
        let environment = Environment {
            properties: Some("parallelism.default: 3".to_owned()),
            options: vec![("taskmanager.numberOfTaskSlots".to_owned(), "4".to_owned())],
        };
        let job = job(&["a.sql", "-Dtaskmanager.numberOfTaskSlots=2"]);
        let settings = job.arguments(environment).unwrap().common.settings;
        let config = crate::config::read(&settings).unwrap();
        assert_eq!(config.raw("taskmanager.numberOfTaskSlots"), Some("2"));
        assert_eq!(config.raw("parallelism.default"), Some("3"));
    }
}
