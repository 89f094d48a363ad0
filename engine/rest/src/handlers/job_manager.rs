//! The JobManager's process.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use millrace_cluster::inspection::{self, Role};
use millrace_cluster::logs;
use millrace_core::sensitive::shown;
use millrace_rest_types::cluster::{Environment, Jvm, LogFile, Logs, ThreadDump, ThreadInfo};

use crate::answer::{Answer, Failure, ok};
use crate::handlers::jobs::entries;
use crate::handlers::{Asked, State, no_file};
use crate::state::{VERSION, blocking};

pub async fn config(state: State) -> Answer {
    ok(&entries(state.config()))
}

pub async fn environment() -> Answer {
    let program = std::env::current_exe().map(|path| path.display().to_string());
    ok(&Environment {
        jvm: Jvm {
            version: format!("Millrace {VERSION}, no JVM"),
            arch: std::env::consts::ARCH.to_owned(),
            options: std::env::args().skip(1).map(|word| argument(&word)).collect(),
        },
        classpath: program.into_iter().collect(),
    })
}

/// An argument as it may be shown: -Dkey=value without the secret.
fn argument(word: &str) -> String {
    match word.split_once('=') {
        Some((key, value)) => format!("{key}={}", shown(key, value)),
        None => word.to_owned(),
    }
}

pub fn listed(files: Vec<logs::LogFile>) -> Logs {
    let file = |file: logs::LogFile| LogFile {
        name: file.name,
        size: file.bytes,
        mtime: file.modified,
    };
    Logs {
        logs: files.into_iter().map(file).collect(),
    }
}

pub fn dumped(threads: Vec<inspection::Thread>) -> ThreadDump {
    let info = |thread: inspection::Thread| ThreadInfo {
        stringified_thread_info: thread.in_words(),
        thread_name: thread.name,
    };
    ThreadDump {
        thread_infos: threads.into_iter().map(info).collect(),
    }
}

/// As Flink sends files of logs.
pub fn text(content: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain")], content).into_response()
}

pub async fn logs() -> Answer {
    ok(&listed(inspection::files(Role::JobManager)))
}

fn unknown_file() -> Failure {
    Failure::no_such_path("This file does not exist in JobManager log dir.".to_owned())
}

pub async fn log_file(asked: Asked) -> Answer {
    let name = asked.text("filename").to_owned();
    if name.contains('/') {
        return Err(no_file(&format!("/jobmanager/logs/{name}")));
    }
    let content = blocking(move || Ok(inspection::content(Role::JobManager, &name))).await?;
    content.map(text).ok_or_else(unknown_file)
}

pub async fn log() -> Answer {
    let content = blocking(|| Ok(inspection::log())).await?;
    content.map(text).ok_or_else(unknown_file)
}

pub async fn stdout() -> Answer {
    let content = blocking(|| Ok(inspection::standard_output())).await?;
    Ok(text(content))
}

pub async fn thread_dump() -> Answer {
    ok(&dumped(blocking(inspection::threads).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_shown_without_secrets() {
        assert_eq!(argument("-Ds3.secret-key=x"), "-Ds3.secret-key=******");
        assert_eq!(argument("-Dparallelism.default=2"), "-Dparallelism.default=2");
        assert_eq!(argument("job.sql"), "job.sql");
    }
}
