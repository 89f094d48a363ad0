//! The SQL jobs: the texts under bench/jobs with their blanks filled in.

use anyhow::{Result, bail};

pub const LATENCY: &str = include_str!("../jobs/latency.sql");

/// How the records of a pass-through are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Json,
    Raw,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Raw => "raw",
        }
    }

    /// The pass-through job of this format.
    pub fn passthrough(self) -> &'static str {
        match self {
            Format::Json => include_str!("../jobs/passthrough-json.sql"),
            Format::Raw => include_str!("../jobs/passthrough-raw.sql"),
        }
    }
}

/// What a job's text leaves open.
#[derive(Debug, Clone)]
pub struct Blanks<'a> {
    pub name: &'a str,
    pub bootstrap: &'a str,
    pub input: &'a str,
    pub output: &'a str,
    /// Where checkpoints go, a URI.
    pub checkpoints: &'a str,
    /// Further options of the source and the sink table, of one engine's best settings.
    pub source_options: &'a [(String, String)],
    pub sink_options: &'a [(String, String)],
}

/// The SQL of a job.
pub fn sql(template: &str, blanks: &Blanks<'_>) -> Result<String> {
    let source_options = options(blanks.source_options);
    let sink_options = options(blanks.sink_options);
    let values = [
        ("${name}", blanks.name),
        ("${bootstrap}", blanks.bootstrap),
        ("${input}", blanks.input),
        ("${output}", blanks.output),
        ("${checkpoints}", blanks.checkpoints),
        ("${source_options}", source_options.as_str()),
        ("${sink_options}", sink_options.as_str()),
    ];
    fill(template, &values)
}

/// A text with its blanks filled in.
pub fn fill(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut text = String::new();
    for line in template.lines() {
        // A comment may speak of blanks.
        let mut line = line.to_owned();
        if !line.starts_with("--") {
            for (blank, value) in values {
                line = line.replace(blank, value);
            }
            if line.contains("${") {
                bail!("the job has an unknown blank: {line}");
            }
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

fn options(options: &[(String, String)]) -> String {
    options
        .iter()
        .map(|(key, value)| format!("\n  '{key}' = '{value}',"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blank_is_filled() {
        let linger = [("properties.linger.ms".to_owned(), "20".to_owned())];
        for template in [Format::Json.passthrough(), Format::Raw.passthrough(), LATENCY] {
            let blanks = Blanks {
                name: "bench-1",
                bootstrap: "127.0.0.1:9092",
                input: "in",
                output: "out-1",
                checkpoints: "file:///cp",
                source_options: &[],
                sink_options: &linger,
            };
            let sql = sql(template, &blanks).unwrap();
            assert!(sql.contains("'topic' = 'out-1',"), "{sql}");
            assert!(
                sql.contains("',\n  'properties.linger.ms' = '20',\n  'format'"),
                "{sql}"
            );
            assert_eq!(sql.matches("linger").count(), 1);
            assert!(sql.contains("SET 'execution.checkpointing.dir' = 'file:///cp';"));
        }
    }

    #[test]
    fn an_unknown_blank_is_refused() {
        let blanks = Blanks {
            name: "",
            bootstrap: "",
            input: "",
            output: "",
            checkpoints: "",
            source_options: &[],
            sink_options: &[],
        };
        assert!(sql("SET 'a' = '${nothing}';", &blanks).is_err());
    }
}
