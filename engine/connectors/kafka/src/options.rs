//! The WITH clause of a Kafka table: Flink's options, read into types and checked against one another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use std::sync::{Arc, LazyLock};

use millrace_connector_api::format::Format;
use millrace_connector_api::{OptionSpec, Options, Registry};
use millrace_core::{Error, Result};
use millrace_dataflow::TableSpec;
use millrace_expr::{Field, RowType};

use crate::properties::Properties;
use crate::topics::Topics;

pub const KAFKA: &str = "kafka";
pub const UPSERT_KAFKA: &str = "upsert-kafka";

/// All options but those of formats, as Flink 2.1's Kafka connector (4.0) declares them.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required("connector", "'kafka'"),
    OptionSpec::optional("topic", None, "the topic, or several with ';' between them"),
    OptionSpec::optional(
        "topic-pattern",
        None,
        "a regular expression over whole topic names; instead of 'topic'",
    ),
    OptionSpec::required(
        "properties.bootstrap.servers",
        "brokers to ask first: host:port, with commas",
    ),
    OptionSpec::optional(
        "properties.*",
        None,
        "options of the Kafka client, in the Java client's names",
    ),
    OptionSpec::optional("format", None, "format of the values"),
    OptionSpec::optional(
        "value.format",
        None,
        "format of the values, where keys have one too",
    ),
    OptionSpec::optional("key.format", None, "format of the keys"),
    OptionSpec::optional(
        "key.fields",
        None,
        "columns that are in the key, with ';' between them",
    ),
    OptionSpec::optional(
        "key.fields-prefix",
        Some(""),
        "what the names of key columns begin with in the table only",
    ),
    OptionSpec::optional(
        "value.fields-include",
        Some("ALL"),
        "ALL columns are in the value, or EXCEPT_KEY",
    ),
    OptionSpec::optional(
        "scan.startup.mode",
        Some("group-offsets"),
        "earliest-offset, latest-offset, group-offsets, timestamp or specific-offsets; \
         but for group-offsets 'properties.auto.offset.reset' only says that the read may go on where records are gone",
    ),
    OptionSpec::optional(
        "scan.startup.specific-offsets",
        None,
        "'partition:0,offset:42;partition:1,offset:300'",
    ),
    OptionSpec::optional(
        "scan.startup.timestamp-millis",
        None,
        "milliseconds since 1970-01-01 00:00 UTC",
    ),
    OptionSpec::optional(
        "scan.bounded.mode",
        Some("unbounded"),
        "unbounded, latest-offset, group-offsets, timestamp or specific-offsets",
    ),
    OptionSpec::optional(
        "scan.bounded.specific-offsets",
        None,
        "'partition:0,offset:42;partition:1,offset:300'",
    ),
    OptionSpec::optional(
        "scan.bounded.timestamp-millis",
        None,
        "milliseconds since 1970-01-01 00:00 UTC",
    ),
    OptionSpec::optional(
        "scan.topic-partition-discovery.interval",
        Some("5 min"),
        "how often new topics and partitions are looked for; 0 never",
    ),
    OptionSpec::optional("scan.parallelism", None, "parallelism of the source"),
    OptionSpec::optional(
        "scan.watermark.idle-timeout",
        None,
        "a partition without records for so long no longer holds the watermark back; instead of \
         'table.exec.source.idle-timeout'",
    ),
    OptionSpec::optional(
        "scan.watermark.emit.strategy",
        Some("on-periodic"),
        "on-periodic or on-event: watermarks are told with each event in both, so that which rows are late goes by \
         their order alone",
    ),
    OptionSpec::optional(
        "scan.watermark.emit.on-event.gap",
        Some("1"),
        "1: after each event",
    ),
    OptionSpec::optional(
        "sink.partitioner",
        Some("default"),
        "default, fixed or round-robin",
    ),
    OptionSpec::optional(
        "sink.delivery-guarantee",
        Some("at-least-once"),
        "none, at-least-once or exactly-once",
    ),
    OptionSpec::optional(
        "sink.transactional-id-prefix",
        None,
        "first part of all transactional ids; for exactly-once",
    ),
    OptionSpec::optional(
        "sink.transaction-naming-strategy",
        Some("default"),
        "default, incrementing or pooling",
    ),
    OptionSpec::optional("sink.parallelism", None, "parallelism of the sink"),
];

/// Those of OPTIONS that an upsert-kafka table has, and its own.
pub static UPSERT_OPTIONS: LazyLock<Vec<OptionSpec>> = LazyLock::new(|| {
    const SHARED: &[&str] = &[
        "connector",
        "topic",
        "topic-pattern",
        "properties.bootstrap.servers",
        "properties.*",
        "key.fields-prefix",
        "value.fields-include",
        "scan.bounded.mode",
        "scan.bounded.specific-offsets",
        "scan.bounded.timestamp-millis",
        "scan.parallelism",
        "scan.watermark.idle-timeout",
        "scan.watermark.emit.strategy",
        "scan.watermark.emit.on-event.gap",
        "sink.delivery-guarantee",
        "sink.transactional-id-prefix",
        "sink.transaction-naming-strategy",
        "sink.parallelism",
    ];
    let own = [
        OptionSpec::required("key.format", "format of the keys"),
        OptionSpec::required("value.format", "format of the values"),
        OptionSpec::optional(
            BUFFER_ROWS,
            Some("0"),
            "keys that are held back at most, so that of several changes of a key only the last is written; \
             together with the interval",
        ),
        OptionSpec::optional(
            BUFFER_INTERVAL,
            Some("0 s"),
            "how long changes are held back; together with the number of rows",
        ),
    ];
    let shared = OPTIONS.iter().filter(|spec| SHARED.contains(&spec.key)).copied();
    shared.chain(own).collect()
});

const BUFFER_ROWS: &str = "sink.buffer-flush.max-rows";
const BUFFER_INTERVAL: &str = "sink.buffer-flush.interval";

/// How long an upsert sink holds changes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffering {
    /// Different keys at most.
    pub rows: usize,
    pub interval: Duration,
}

/// Where a partition is read from at a fresh start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Startup {
    Earliest,
    Latest,
    /// The group's committed offsets.
    Group,
    /// The first record that is not older, in milliseconds since the epoch; else the end.
    Timestamp(i64),
    /// By partition, of the one topic.
    Specific(BTreeMap<i32, i64>),
}

/// Where a partition's read ends: before the first record that is not to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounded {
    Unbounded,
    Latest,
    Group,
    Timestamp(i64),
    Specific(BTreeMap<i32, i64>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// What the Java client does: murmur2 of the key, sticky without one.
    Default,
    /// One partition a subtask.
    Fixed,
    RoundRobin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryGuarantee {
    None,
    AtLeastOnce,
    ExactlyOnce,
}

/// The key or the value of records: its format and the columns that are in it.
#[derive(Clone)]
pub struct Payload {
    pub format: Arc<dyn Format>,
    /// What the format's options begin with: `json.`, `value.json.`, `key.json.`.
    pub prefix: String,
    /// Indexes into the table's columns.
    pub columns: Vec<usize>,
    /// Those columns under the names that the format sees (`key.fields-prefix` taken off).
    pub fields: Vec<Field>,
}

impl Payload {
    pub fn row_type(&self) -> RowType {
        RowType::new(self.fields.clone())
    }
}

/// A Kafka table's options.
#[derive(Clone)]
pub struct TableOptions {
    pub topics: Topics,
    pub properties: Properties,
    pub value: Payload,
    pub key: Option<Payload>,
    pub startup: Startup,
    pub bounded: Bounded,
    /// How often new partitions are looked for; `None` never.
    pub discovery: Option<Duration>,
    pub scan_parallelism: Option<usize>,
    /// `scan.watermark.idle-timeout`.
    pub idle_timeout: Option<Duration>,
    pub partitioner: Partitioner,
    pub guarantee: DeliveryGuarantee,
    pub transactional_id_prefix: Option<String>,
    pub sink_parallelism: Option<usize>,
    /// Whether it is an upsert-kafka table: of records with the same key the last one counts, and one
    /// without a value deletes.
    pub upsert: bool,
    pub buffering: Option<Buffering>,
}

impl TableOptions {
    /// Reads and checks everything that can be checked without a broker and without files.
    pub fn parse(table: &TableSpec, formats: &Registry) -> Result<Self> {
        let options = Options::new(&table.name, &table.options);
        let idle_timeout = watermarks(&options)?;
        let upsert = options.raw("connector") == Some(UPSERT_KAFKA);
        let known: &[OptionSpec] = if upsert { &UPSERT_OPTIONS } else { OPTIONS };
        if upsert && table.primary_key.is_empty() {
            return Err(Error::user(format!(
                "'{UPSERT_KAFKA}' tables require to define a PRIMARY KEY constraint: table '{}' has none",
                table.name
            ))
            .with_detail("the PRIMARY KEY says which columns are in the key of a Kafka record, and which row a record changes or deletes")
            .with_hint("add PRIMARY KEY (...) NOT ENFORCED to the table's columns"));
        }
        for required in known.iter().filter(|spec| spec.required) {
            options.require::<String>(required.key)?;
        }
        let (value, key) = payloads(table, &options, formats, upsert)?;
        check_keys(&options, known, &value, key.as_ref())?;
        check_changelogs(table, &value, key.as_ref(), upsert)?;
        let topics = topics(&options)?;
        let startup = match upsert {
            true => Startup::Earliest,
            false => startup(&options, &topics)?,
        };
        let bounded = bounded(&options, &topics)?;
        let interval = options.get_or(
            "scan.topic-partition-discovery.interval",
            Duration::from_secs(300),
        )?;
        let guarantee = options
            .choice(
                "sink.delivery-guarantee",
                &[
                    ("none", DeliveryGuarantee::None),
                    ("at-least-once", DeliveryGuarantee::AtLeastOnce),
                    ("exactly-once", DeliveryGuarantee::ExactlyOnce),
                ],
            )?
            .unwrap_or(DeliveryGuarantee::AtLeastOnce);
        // The engine has one way to name transactions; it satisfies both of Flink's strategies.
        options.choice(
            "sink.transaction-naming-strategy",
            &[("default", ()), ("incrementing", ()), ("pooling", ())],
        )?;
        let transactional_id_prefix = options.get::<String>("sink.transactional-id-prefix")?;
        if guarantee == DeliveryGuarantee::ExactlyOnce && transactional_id_prefix.is_none() {
            return Err(Error::user(format!(
                "table '{}' lacks the option 'sink.transactional-id-prefix'",
                table.name
            ))
            .with_detail("'sink.delivery-guarantee' = 'exactly-once' needs it")
            .with_hint("give every table that writes to the same cluster a prefix of its own"));
        }
        let partitioner = partitioner(&options)?;
        if partitioner == Partitioner::RoundRobin && key.is_some() {
            return Err(options.wrong(
                "sink.partitioner",
                "'round-robin' only where 'key.fields' is not set",
            ));
        }
        let properties = Properties::parse(&options)?;
        // As Flink: a bounded read takes the partitions that there are when it starts.
        let discovery = (bounded == Bounded::Unbounded && !interval.is_zero()).then_some(interval);
        Ok(TableOptions {
            topics,
            properties,
            value,
            key,
            startup,
            bounded,
            discovery,
            idle_timeout,
            scan_parallelism: parallelism(&options, "scan.parallelism")?,
            partitioner,
            guarantee,
            transactional_id_prefix,
            sink_parallelism: parallelism(&options, "sink.parallelism")?,
            upsert,
            buffering: buffering(&options)?,
        })
    }
}

/// The options of watermarks; gives the timeout of idle partitions.
fn watermarks(options: &Options) -> Result<Option<Duration>> {
    if let Some((key, _)) = options
        .iter()
        .find(|(key, _)| key.starts_with("scan.watermark.alignment."))
    {
        return Err(
            Error::unsupported(format!("option '{key}' of table '{}'", options.table)).with_hint(
                "leave it out: partitions that are ahead are read on, and their rows wait in state",
            ),
        );
    }
    const STRATEGY: &str = "scan.watermark.emit.strategy";
    if let Some(strategy) = options.raw(STRATEGY)
        && !["on-event", "on-periodic"].contains(&strategy.to_lowercase().as_str())
    {
        return Err(options.wrong(STRATEGY, "'on-event' or 'on-periodic'"));
    }
    const GAP: &str = "scan.watermark.emit.on-event.gap";
    if options.get::<u64>(GAP)?.is_some_and(|gap| gap != 1) {
        return Err(options.wrong(GAP, "1: a watermark is told with each event"));
    }
    options.get::<Duration>("scan.watermark.idle-timeout")
}

/// Which formats can be where, as to the kinds of rows in them.
fn check_changelogs(table: &TableSpec, value: &Payload, key: Option<&Payload>, upsert: bool) -> Result<()> {
    if let Some(key) = key
        && key.format.is_changelog()
    {
        let format = key.format.identifier();
        let what = match upsert {
            true => format!("'{UPSERT_KAFKA}' connector doesn't support '{format}' as key format"),
            false => format!("a key format should only deal with insert-only records: '{format}'"),
        };
        return Err(Error::user(what)
            .with_detail(format!(
                "table '{}': '{format}' is not in insert-only mode",
                table.name
            ))
            .with_hint("take a format for single rows, such as 'json'"));
    }
    if upsert && value.format.is_changelog() {
        let format = value.format.identifier();
        return Err(Error::user(format!(
            "'{UPSERT_KAFKA}' connector doesn't support '{format}' as value format"
        ))
        .with_detail(format!(
            "table '{}': '{format}' is not in insert-only mode",
            table.name
        ))
        .with_hint("take a format for single rows, such as 'json', or the connector 'kafka'"));
    }
    if !upsert && !table.primary_key.is_empty() && !value.format.is_changelog() {
        return Err(
            Error::user(format!("table '{}' cannot have a PRIMARY KEY", table.name))
                .with_detail(format!("format '{}' only inserts", value.format.identifier()))
                .with_hint(
                    "records of the same key follow one another in a topic: declare no key, or take the \
                     connector 'upsert-kafka'",
                ),
        );
    }
    Ok(())
}

fn buffering(options: &Options) -> Result<Option<Buffering>> {
    let rows = options.get_or::<usize>(BUFFER_ROWS, 0)?;
    let interval = options.get_or(BUFFER_INTERVAL, Duration::ZERO)?;
    match (rows > 0, !interval.is_zero()) {
        (false, false) => Ok(None),
        (true, true) => Ok(Some(Buffering { rows, interval })),
        _ => Err(Error::user(format!(
            "'{BUFFER_ROWS}' and '{BUFFER_INTERVAL}' must be set to be greater than zero together to enable \
             sink buffer flushing"
        ))
        .with_detail(format!("table '{}'", options.table))),
    }
}

/// A list as Flink writes it: `a;b;c`, blanks around the elements do not count.
fn list(text: &str) -> Vec<String> {
    text.split(';')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect()
}

fn parallelism(options: &Options, key: &str) -> Result<Option<usize>> {
    let value = options.get::<usize>(key)?;
    if value == Some(0) {
        return Err(options.wrong(key, "a whole number from 1"));
    }
    Ok(value)
}

fn partitioner(options: &Options) -> Result<Partitioner> {
    let Some(text) = options.raw("sink.partitioner") else {
        return Ok(Partitioner::Default);
    };
    match text.trim() {
        "default" => Ok(Partitioner::Default),
        "fixed" => Ok(Partitioner::Fixed),
        "round-robin" => Ok(Partitioner::RoundRobin),
        class => Err(Error::unsupported(format!(
            "a partitioner of one's own ('sink.partitioner' = '{class}')"
        ))
        .with_hint("it takes 'default', 'fixed' or 'round-robin'")),
    }
}

fn topics(options: &Options) -> Result<Topics> {
    match (options.raw("topic"), options.raw("topic-pattern")) {
        (Some(_), Some(_)) => Err(Error::user(format!(
            "table '{}' has both 'topic' and 'topic-pattern'",
            options.table
        ))
        .with_hint("take one of them away")),
        (None, None) => Err(Error::user(format!(
            "table '{}' has neither 'topic' nor 'topic-pattern'",
            options.table
        ))
        .with_hint("add 'topic' = '...' to its WITH clause")),
        (Some(text), None) => {
            let topics = list(text);
            if topics.is_empty() {
                return Err(options.wrong("topic", "a topic's name, or several with ';' between them"));
            }
            let unique: BTreeSet<_> = topics.iter().collect();
            if unique.len() != topics.len() {
                return Err(options.wrong("topic", "each topic once"));
            }
            Ok(Topics::List(topics))
        }
        (None, Some(text)) => Topics::pattern(text)
            .map_err(|e| e.with_detail(format!("table '{}': 'topic-pattern' = '{text}'", options.table))),
    }
}

fn startup(options: &Options, topics: &Topics) -> Result<Startup> {
    #[derive(Clone, Copy)]
    enum Mode {
        Earliest,
        Latest,
        Group,
        Timestamp,
        Specific,
    }
    let modes = [
        ("earliest-offset", Mode::Earliest),
        ("latest-offset", Mode::Latest),
        ("group-offsets", Mode::Group),
        ("timestamp", Mode::Timestamp),
        ("specific-offsets", Mode::Specific),
    ];
    Ok(
        match options
            .choice("scan.startup.mode", &modes)?
            .unwrap_or(Mode::Group)
        {
            Mode::Earliest => Startup::Earliest,
            Mode::Latest => Startup::Latest,
            Mode::Group => Startup::Group,
            Mode::Timestamp => Startup::Timestamp(options.require("scan.startup.timestamp-millis")?),
            Mode::Specific => Startup::Specific(specific_offsets(
                options,
                "scan.startup.specific-offsets",
                topics,
            )?),
        },
    )
}

fn bounded(options: &Options, topics: &Topics) -> Result<Bounded> {
    #[derive(Clone, Copy)]
    enum Mode {
        Unbounded,
        Latest,
        Group,
        Timestamp,
        Specific,
    }
    let modes = [
        ("unbounded", Mode::Unbounded),
        ("latest-offset", Mode::Latest),
        ("group-offsets", Mode::Group),
        ("timestamp", Mode::Timestamp),
        ("specific-offsets", Mode::Specific),
    ];
    Ok(
        match options
            .choice("scan.bounded.mode", &modes)?
            .unwrap_or(Mode::Unbounded)
        {
            Mode::Unbounded => Bounded::Unbounded,
            Mode::Latest => Bounded::Latest,
            Mode::Group => Bounded::Group,
            Mode::Timestamp => Bounded::Timestamp(options.require("scan.bounded.timestamp-millis")?),
            Mode::Specific => Bounded::Specific(specific_offsets(
                options,
                "scan.bounded.specific-offsets",
                topics,
            )?),
        },
    )
}

fn specific_offsets(options: &Options, key: &str, topics: &Topics) -> Result<BTreeMap<i32, i64>> {
    let text: String = options.require(key)?;
    if !matches!(topics, Topics::List(list) if list.len() == 1) {
        return Err(Error::user(format!(
            "table '{}' has '{key}' for more than one topic",
            options.table
        ))
        .with_hint("offsets by partition need 'topic' with exactly one topic"));
    }
    let wrong = || options.wrong(key, "'partition:0,offset:42;partition:1,offset:300'");
    let mut offsets = BTreeMap::new();
    for pair in list(&text) {
        let (partition, offset) = pair.split_once(',').ok_or_else(wrong)?;
        let number = |part: &str, name: &str| -> Option<i64> {
            let (given, value) = part.split_once(':')?;
            (given.trim() == name)
                .then(|| value.trim().parse().ok())
                .flatten()
                .filter(|n| *n >= 0)
        };
        let partition = number(partition, "partition")
            .and_then(|n| i32::try_from(n).ok())
            .ok_or_else(wrong)?;
        let offset = number(offset, "offset").ok_or_else(wrong)?;
        if offsets.insert(partition, offset).is_some() {
            return Err(options.wrong(key, "each partition once"));
        }
    }
    if offsets.is_empty() {
        return Err(wrong());
    }
    Ok(offsets)
}

/// Who is in the key and who in the value.
fn payloads(
    table: &TableSpec,
    options: &Options,
    formats: &Registry,
    upsert: bool,
) -> Result<(Payload, Option<Payload>)> {
    let (value_format, value_prefix) = match (options.raw("format"), options.raw("value.format")) {
        (Some(f), _) => (f, format!("{f}.")),
        (None, Some(f)) => (f, format!("value.{f}.")),
        (None, None) => {
            return Err(Error::user(format!("table '{}' lacks the option 'format'", table.name))
                .with_hint("add 'format' = '...' (or 'value.format' where keys have a format too) to its WITH clause"));
        }
    };
    let value_format = formats.format(&table.name, value_format)?.clone();
    let key_fields = match upsert {
        true => table.primary_key.clone(),
        false => options.raw("key.fields").map(list).unwrap_or_default(),
    };
    let prefix = options.raw("key.fields-prefix").unwrap_or_default();
    let except_key = options
        .choice("value.fields-include", &[("ALL", false), ("EXCEPT_KEY", true)])?
        .unwrap_or(false);

    let key = match options.raw("key.format") {
        None => {
            for key in ["key.fields", "key.fields-prefix"] {
                if options.raw(key).is_some_and(|v| !v.is_empty()) {
                    return Err(Error::user(format!(
                        "table '{}' has '{key}' without 'key.format'",
                        table.name
                    ))
                    .with_hint("add 'key.format' = '...', or take it away"));
                }
            }
            None
        }
        Some(format) => {
            if key_fields.is_empty() {
                return Err(Error::user(format!(
                    "table '{}' has 'key.format' without 'key.fields'",
                    table.name
                ))
                .with_hint("name the key's columns: 'key.fields' = 'a;b'"));
            }
            let mut columns = Vec::new();
            let mut fields = Vec::new();
            for name in &key_fields {
                let Some(index) = table.columns.iter().position(|c| &c.name == name) else {
                    let known: Vec<_> = table.columns.iter().map(|c| c.name.as_str()).collect();
                    return Err(Error::user(format!(
                        "table '{}' has no physical column '{name}' for its key",
                        table.name
                    ))
                    .with_detail(format!(
                        "'key.fields' = '{}'",
                        options.raw("key.fields").unwrap_or_default()
                    ))
                    .with_hint(format!("columns are: {}", known.join(", "))));
                };
                if columns.contains(&index) {
                    return Err(options.wrong("key.fields", "each column once"));
                }
                let Some(stripped) = name.strip_prefix(prefix) else {
                    return Err(Error::user(format!(
                        "key column '{name}' of table '{}' does not begin with the prefix of key columns",
                        table.name
                    ))
                    .with_detail(format!("'key.fields-prefix' = '{prefix}'")));
                };
                columns.push(index);
                fields.push(Field::new(stripped, table.columns[index].data_type.clone()));
            }
            let key_format = formats.format(&table.name, format)?.clone();
            Some(Payload {
                format: key_format,
                prefix: format!("key.{format}."),
                columns,
                fields,
            })
        }
    };
    if !prefix.is_empty() && !except_key {
        return Err(Error::user(format!(
            "table '{}' has a key prefix while all columns are in the value",
            table.name
        ))
        .with_detail(format!(
            "'key.fields-prefix' = '{prefix}', 'value.fields-include' = 'ALL'"
        ))
        .with_hint("set 'value.fields-include' = 'EXCEPT_KEY': names would overlap"));
    }
    if except_key && key.is_none() {
        return Err(Error::user(format!(
            "table '{}' leaves key columns out of the value but has no key",
            table.name
        ))
        .with_hint("add 'key.format' and 'key.fields', or take 'value.fields-include' away"));
    }
    let key_columns: &[usize] = key.as_ref().map(|k| k.columns.as_slice()).unwrap_or_default();
    let columns: Vec<usize> = (0..table.columns.len())
        .filter(|i| !(except_key && key_columns.contains(i)))
        .collect();
    let fields = columns.iter().map(|&i| table.columns[i].clone()).collect();
    Ok((
        Payload {
            format: value_format,
            prefix: value_prefix,
            columns,
            fields,
        },
        key,
    ))
}

/// Every key of the WITH clause is one of ours or of a format that the table uses.
fn check_keys(options: &Options, specs: &[OptionSpec], value: &Payload, key: Option<&Payload>) -> Result<()> {
    let payloads: Vec<&Payload> = std::iter::once(value).chain(key).collect();
    let of_a_format = |given: &str| {
        payloads.iter().any(|p| {
            given
                .strip_prefix(p.prefix.as_str())
                .is_some_and(|rest| p.format.options().iter().any(|s| s.covers(rest)))
        })
    };
    for (given, _) in options.iter() {
        if specs.iter().any(|s| s.covers(given)) || of_a_format(given) {
            continue;
        }
        let known: Vec<String> = specs
            .iter()
            .map(|s| s.key.to_owned())
            .chain(payloads.iter().flat_map(|p| {
                p.format
                    .options()
                    .iter()
                    .map(|s| format!("{}{}", p.prefix, s.key))
            }))
            .collect();
        let hint = match crate::nearest::nearest(given, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("known here: {}", known.join(", ")),
        };
        return Err(Error::user(format!(
            "table '{}' has an unknown option '{given}'",
            options.table
        ))
        .with_hint(hint));
    }
    for spec in payloads
        .iter()
        .flat_map(|p| p.format.options().iter().map(move |s| (p, s)))
    {
        if spec.1.required {
            options.require::<String>(&format!("{}{}", spec.0.prefix, spec.1.key))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
