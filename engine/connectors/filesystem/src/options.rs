//! The WITH clause, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::datatypes::TimeUnit;
use millrace_connector_api::{OptionSpec, Options, Registry};
use millrace_core::config::MemorySize;
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::java_regex;
use regex::Regex;

use crate::timestamps::Zone;

const MEMORY: usize = 64 << 20;

pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required("connector", "filesystem"),
    OptionSpec::required("path", "a file or a folder: a local path or file://"),
    OptionSpec::required("format", "json, csv, raw, debezium-json or parquet"),
    OptionSpec::optional(
        "partition.default-name",
        Some("__DEFAULT_PARTITION__"),
        "the folder of rows whose partition column is NULL",
    ),
    OptionSpec::optional(
        "source.path.regex-pattern",
        None,
        "reads only files whose whole path matches",
    ),
    OptionSpec::optional("source.report-statistics", None, "without effect"),
    OptionSpec::optional(
        "sink.rolling-policy.file-size",
        Some("128 mb"),
        "a file of this size is finished",
    ),
    OptionSpec::optional(
        "sink.rolling-policy.rollover-interval",
        Some("30 min"),
        "a file open for so long is finished",
    ),
    OptionSpec::optional(
        "sink.rolling-policy.inactivity-interval",
        Some("30 min"),
        "a file without rows for so long is finished",
    ),
    OptionSpec::optional(
        "sink.rolling-policy.check-interval",
        Some("1 min"),
        "how often the ages of files are looked at",
    ),
    OptionSpec::optional("sink.parallelism", None, "number of subtasks that write"),
    OptionSpec::optional(
        "parquet.compression",
        Some("SNAPPY"),
        "SNAPPY, ZSTD or UNCOMPRESSED",
    ),
    OptionSpec::optional(
        "parquet.utc-timezone",
        Some("false"),
        "takes a file's timestamps as they are; otherwise they are instants, shown in the machine's zone",
    ),
    OptionSpec::optional(
        "parquet.write.int64.timestamp",
        Some("false"),
        "writes timestamps as INT64 instead of INT96",
    ),
    OptionSpec::optional(
        "parquet.timestamp.time.unit",
        Some("micros"),
        "the unit of INT64 timestamps that are written: millis, micros or nanos",
    ),
    OptionSpec::optional("parquet.batch-size", Some("2048"), "without effect"),
];

/// Options of Flink's that would change what is read or written, and are not built.
const REFUSED: &[&str] = &[
    "source.monitor-interval",
    "auto-compaction",
    "compaction.file-size",
    "compaction.parallelism",
    "sink.shuffle-by-partition.enable",
    "sink.partition-commit.",
    "partition.time-extractor.",
    "parquet.",
];

#[derive(Debug, Clone)]
pub struct Settings {
    pub path: PathBuf,
    pub format: String,
    pub default_partition: String,
    pub path_pattern: Option<Regex>,
    pub rolling: Rolling,
    pub parallelism: Option<usize>,
    pub parquet: Parquet,
    /// Bytes of rows that a writer's open Parquet files have in memory together, about.
    pub memory: usize,
}

/// How Parquet files are written, and their timestamps read.
#[derive(Debug, Clone, Copy)]
pub struct Parquet {
    pub compression: Compression,
    pub zone: Zone,
    pub timestamps: Timestamps,
}

/// What a timestamp is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamps {
    Int96,
    Int64(TimeUnit),
}

/// When a file is finished, if its format does not end with each checkpoint anyway.
#[derive(Debug, Clone, Copy)]
pub struct Rolling {
    pub bytes: u64,
    pub age: Duration,
    pub inactivity: Duration,
    pub check: Duration,
}

impl Parquet {
    fn new(options: &Options<'_>) -> Result<Self> {
        let codecs = [
            ("SNAPPY", Compression::Snappy),
            ("ZSTD", Compression::Zstd),
            ("UNCOMPRESSED", Compression::None),
        ];
        let units = [
            ("millis", TimeUnit::Millisecond),
            ("micros", TimeUnit::Microsecond),
            ("nanos", TimeUnit::Nanosecond),
        ];
        let unit = options
            .choice("parquet.timestamp.time.unit", &units)?
            .unwrap_or(TimeUnit::Microsecond);
        options.get_or("parquet.batch-size", 2048)?;
        Ok(Parquet {
            compression: options
                .choice("parquet.compression", &codecs)?
                .unwrap_or(Compression::Snappy),
            zone: if options.get_or("parquet.utc-timezone", false)? {
                Zone::UTC
            } else {
                Zone::machine()
            },
            timestamps: if options.get_or("parquet.write.int64.timestamp", false)? {
                Timestamps::Int64(unit)
            } else {
                Timestamps::Int96
            },
        })
    }
}

impl Rolling {
    fn new(options: &Options<'_>) -> Result<Self> {
        let duration = |key: &str, default: u64| -> Result<Duration> {
            let given = options.get_or(key, Duration::from_secs(default))?;
            if given.is_zero() {
                return Err(options.wrong(key, "a duration longer than zero"));
            }
            Ok(given)
        };
        let bytes = options
            .get_or("sink.rolling-policy.file-size", MemorySize(128 << 20))?
            .0;
        if bytes == 0 {
            return Err(options.wrong("sink.rolling-policy.file-size", "a size of one byte or more"));
        }
        Ok(Rolling {
            bytes,
            age: duration("sink.rolling-policy.rollover-interval", 1800)?,
            inactivity: duration("sink.rolling-policy.inactivity-interval", 1800)?,
            check: duration("sink.rolling-policy.check-interval", 60)?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Snappy,
    Zstd,
}

impl Settings {
    pub fn new(table: &TableSpec, formats: &Registry) -> Result<Self> {
        let options = Options::new(&table.name, &table.options);
        let format: String = options.require("format")?;
        check_keys(table, &options, formats, &format)?;
        let path = local_path(&options, &options.require::<String>("path")?)?;
        let path_pattern = match options.raw("source.path.regex-pattern") {
            None => None,
            Some(text) => Some(java_regex::whole(text).map_err(|e| {
                options
                    .wrong("source.path.regex-pattern", "a regular expression")
                    .with_source(e)
            })?),
        };
        let parallelism: Option<usize> = options.get("sink.parallelism")?;
        if parallelism == Some(0) {
            return Err(options.wrong("sink.parallelism", "a whole number from 1"));
        }
        for key in &table.partition_keys {
            if !table.columns.iter().any(|c| c.name == *key) {
                return Err(Error::user(format!(
                    "table '{}' is partitioned by '{key}', which is no column",
                    table.name
                )));
            }
        }
        if table.partition_keys.len() == table.columns.len() {
            return Err(
                Error::user(format!("table '{}' has only partition columns", table.name))
                    .with_hint("a file needs at least one column of its own"),
            );
        }
        let rolling = Rolling::new(&options)?;
        Ok(Settings {
            path,
            format,
            default_partition: options
                .get_or("partition.default-name", "__DEFAULT_PARTITION__".to_owned())?,
            path_pattern,
            rolling,
            parallelism,
            parquet: Parquet::new(&options)?,
            memory: MEMORY,
        })
    }

    pub fn is_parquet(&self) -> bool {
        self.format == "parquet"
    }

    /// Under which the format's options stand.
    pub fn prefix(&self) -> String {
        format!("{}.", self.format)
    }
}

/// The connector's keys, and the format's below its name.
fn check_keys(table: &TableSpec, options: &Options<'_>, formats: &Registry, format: &str) -> Result<()> {
    let prefix = format!("{format}.");
    let known = if format == "parquet" {
        &[]
    } else {
        match formats.format(&table.name, format) {
            // Records in a file would need lengths; Flink's `avro` files are containers.
            Ok(_) if matches!(format, "avro" | "avro-confluent") => {
                return Err(Error::unsupported(format!(
                    "the format '{format}' of the filesystem table '{}'",
                    table.name
                ))
                .with_detail("Avro in files stands in containers with a schema of their own, which are not read or written")
                .with_hint("take 'parquet', 'json', 'csv', 'raw' or 'debezium-json'"));
            }
            Ok(found) => found.options(),
            Err(e) => {
                return Err(e.with_hint(
                    "a filesystem table has the format 'json', 'csv', 'raw', 'debezium-json' or 'parquet'",
                ));
            }
        }
    };
    let mut rest = table.options.clone();
    for (key, _) in options.iter() {
        if let Some(name) = key.strip_prefix(&prefix)
            && known.iter().any(|o| o.covers(name))
        {
            rest.remove(key);
            continue;
        }
        if !OPTIONS.iter().any(|o| o.covers(key)) && REFUSED.iter().any(|r| key.starts_with(r)) {
            return Err(Error::unsupported(format!(
                "option '{key}' of table '{}'",
                table.name
            )));
        }
    }
    Options::new(&table.name, &rest).check(&[OPTIONS]).map_err(|e| {
        let names: Vec<_> = known.iter().map(|o| format!("{prefix}{}", o.key)).collect();
        match (names.is_empty(), e.hint()) {
            (false, Some(hint)) => {
                let hint = format!("{hint}, {}", names.join(", "));
                e.with_hint(hint)
            }
            _ => e,
        }
    })
}

/// The local path that `path` names, absolute.
fn local_path(options: &Options<'_>, path: &str) -> Result<PathBuf> {
    let local = match path.split_once(':') {
        Some(("file", rest)) => match rest.strip_prefix("//") {
            // file://host/path with the host left out or localhost.
            Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
            None => rest,
        },
        Some((scheme, rest)) if rest.starts_with("//") => {
            return Err(Error::unsupported(format!("a filesystem table on '{scheme}://'"))
                .with_detail(format!("table '{}', 'path' = '{path}'", options.table)));
        }
        _ => path,
    };
    if local.is_empty() || (path.starts_with("file:") && !local.starts_with('/')) {
        return Err(options.wrong("path", "a local path, or file:// and an absolute one"));
    }
    std::path::absolute(Path::new(local)).map_err(|e| options.wrong("path", "a local path").with_source(e))
}
