//! What a request to run an upload means.

use millrace_core::{Configuration, Error, JobId, Result, options};
use millrace_rest_types::jars::{ClaimMode, JarRun};

use crate::parameters::job_id;

/// Flink's own way to run SQL; its arguments mean the same here.
const SQL_DRIVER: &str = "org.apache.flink.table.runtime.application.SqlDriver";

/// What is run, and how.
#[derive(Debug, PartialEq)]
pub struct Program {
    /// None: that of the upload.
    pub script: Option<Script>,
    pub id: Option<JobId>,
    pub config: Configuration,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Script {
    Text(String),
    /// A path or file: URI.
    File(String),
}

impl Program {
    /// Of a request; its options come on top of the cluster's.
    pub fn of(request: JarRun, cluster: &Configuration) -> Result<Program> {
        if let Some(class) = request
            .entry_class
            .filter(|class| !class.is_empty() && class != SQL_DRIVER)
        {
            return Err(Error::user("a job in Java does not run on this engine")
                .with_detail(class)
                .with_hint(
                    "leave the entry class away and upload the job's SQL, or run the jar on Apache Flink",
                ));
        }
        let mut config = cluster.clone();
        for (key, value) in request.flink_configuration.into_iter().flatten() {
            config.set(key, value);
        }
        if let Some(parallelism) = request.parallelism {
            config.set(options::PARALLELISM.key, parallelism.to_string());
        }
        if let Some(path) = request.savepoint_path.filter(|path| !path.is_empty()) {
            config.set(options::RESTORE_PATH.key, path);
        }
        if let Some(allowed) = request.allow_non_restored_state {
            config.set(options::RESTORE_IGNORES_UNCLAIMED.key, allowed.to_string());
        }
        match request.claim_mode.or(request.restore_mode) {
            None => {}
            Some(ClaimMode::Claim) => config.set(options::CLAIM_MODE.key, "CLAIM"),
            Some(ClaimMode::NoClaim) => config.set(options::CLAIM_MODE.key, "NO_CLAIM"),
            Some(ClaimMode::Legacy) => {
                return Err(Error::unsupported("claimMode LEGACY").with_hint("use NO_CLAIM or CLAIM"));
            }
        }
        let id = match request.job_id {
            None => None,
            Some(text) => Some(job_id(&text).ok_or_else(|| {
                Error::user("the job id is none")
                    .with_detail(text)
                    .with_hint("it has 32 hexadecimal digits")
            })?),
        };
        let mut arguments = request.program_args_list.unwrap_or_default();
        arguments.extend(words(&request.program_args.unwrap_or_default()));
        Ok(Program {
            script: script(arguments)?,
            id,
            config,
        })
    }
}

fn script(arguments: Vec<String>) -> Result<Option<Script>> {
    let mut arguments = arguments.into_iter();
    let mut found = None;
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (argument, None),
        };
        let make = match name.as_str() {
            "--script" => Script::Text,
            "--scriptUri" => Script::File,
            other => {
                return Err(Error::user("a program's argument is not known")
                    .with_detail(other)
                    .with_hint("it takes --script SQL or --scriptUri FILE; without arguments the upload's job.sql is run"));
            }
        };
        let value = value
            .or_else(|| arguments.next())
            .ok_or_else(|| Error::user("a program's argument has no value").with_detail(name))?;
        found = Some(make(value));
    }
    Ok(found)
}

/// Words with spaces between; what stands in quotes is one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> JarRun {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn options_of_a_request_come_on_top() {
        let mut cluster = Configuration::default();
        cluster.set("a", "cluster");
        cluster.set("b", "cluster");
        let program = Program::of(
            request(
                r#"{"entryClass": null, "programArgs": null, "flinkConfiguration": {"a": "request"}, "parallelism": 3,
                    "savepointPath": "/s/1", "allowNonRestoredState": true, "claimMode": "CLAIM",
                    "jobId": "0123456789abcdef0123456789ABCDEF"}"#,
            ),
            &cluster,
        )
        .unwrap();
        let option = |key: &str| program.config.raw(key).unwrap();
        assert_eq!(
            [option("a"), option("b"), option("parallelism.default")],
            ["request", "cluster", "3"]
        );
        assert_eq!(option("execution.state-recovery.path"), "/s/1");
        assert_eq!(option("execution.state-recovery.claim-mode"), "CLAIM");
        assert_eq!(option("execution.state-recovery.ignore-unclaimed-state"), "true");
        assert_eq!(
            program.id.unwrap().to_string(),
            "0123456789abcdef0123456789abcdef"
        );
        assert_eq!(program.script, None);
    }

    #[test]
    fn flinks_driver_of_sql_is_understood() {
        let of = |arguments: &str| {
            let json = format!(r#"{{"entryClass": "{SQL_DRIVER}", {arguments}}}"#);
            Program::of(request(&json), &Configuration::default()).map(|program| program.script)
        };
        let text = Some(Script::Text("SELECT 1".to_owned()));
        assert_eq!(
            of(r#""programArgsList": ["--script", "SELECT 1"]"#).unwrap(),
            text
        );
        assert_eq!(of(r#""programArgs": "--script 'SELECT 1'""#).unwrap(), text);
        assert_eq!(
            of(r#""programArgs": "--scriptUri=file:///a.sql""#).unwrap(),
            Some(Script::File("file:///a.sql".to_owned()))
        );
        for wrong in [
            r#""programArgsList": ["--other"]"#,
            r#""programArgsList": ["--script"]"#,
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_class_in_java_is_refused() {
        let error = Program::of(
            request(r#"{"entryClass": "com.example.Job"}"#),
            &Configuration::default(),
        );
        assert!(error.unwrap_err().to_string().contains("com.example.Job"));
    }

    #[test]
    fn words_may_be_quoted() {
        assert_eq!(words(" a 'b c' d\"e f\" '' "), ["a", "b c", "de f", ""]);
    }
}
