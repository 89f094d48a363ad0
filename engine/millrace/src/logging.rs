//! The log: on standard error, and where others read it from (`millrace_cluster::logs`). As lines for people, or as JSON,
//! an object a line.

use std::fmt;
use std::io::Write;

use millrace_cluster::logs::{self, Log};
use millrace_cluster::words;
use millrace_core::{Configuration, Error, Result, options};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::terminal::{self, Stderr};

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One that a person has called, and looks at.
    Command,
    JobManager,
    TaskManager,
}

impl Role {
    /// Levels by target, where RUST_LOG says nothing. Flink's own lines are for clusters.
    fn levels(self) -> String {
        match self {
            Role::Command => format!("warn,millrace=info,{}=error", words::TARGET),
            Role::JobManager | Role::TaskManager => "warn,millrace=info".to_owned(),
        }
    }

    /// As its log is called.
    fn name(self) -> Option<&'static str> {
        match self {
            Role::Command => None,
            Role::JobManager => Some("jobmanager"),
            Role::TaskManager => Some("taskmanager"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

impl Form {
    fn chosen(config: &Configuration) -> Result<Form> {
        let text = match std::env::var("MILLRACE_LOG_FORMAT") {
            Ok(text) if config.raw(options::LOG_FORMAT.key).is_none() => text,
            _ => config.get(&options::LOG_FORMAT)?,
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "text" | "" => Ok(Form::Text),
            "json" => Ok(Form::Json),
            _ => Err(
                Error::user(format!("{} has a wrong value", options::LOG_FORMAT.key))
                    .with_detail(text)
                    .with_hint("it takes text or json"),
            ),
        }
    }
}

/// Begins it, once.
pub fn begin(role: Role, config: &Configuration) -> Result<()> {
    let form = Form::chosen(config)?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(role.levels()));
    let mut layers = vec![layer(form, terminal::is_terminal(), || Stderr)];
    if let Some(role) = role.name() {
        let log = log(role, config)?;
        logs::set_current(log.clone());
        layers.push(layer(form, false, move || Lines(log.clone())));
    }
    // A second one would be a second command in this process, as tests have it.
    let _ = tracing_subscriber::registry()
        .with(layers)
        .with(filter)
        .try_init();
    Ok(())
}

fn log(role: &str, config: &Configuration) -> Result<Log> {
    let name = format!("millrace-{role}-{}.log", millrace_cluster::process::host_name());
    match config.get_optional(&options::LOG_DIRECTORY)? {
        None => Ok(Log::in_memory(&name)),
        Some(folder) => Log::in_folder(folder.as_ref(), &name, config.get(&options::LOG_FILES)?),
    }
}

fn layer<W, M>(form: Form, ansi: bool, writer: M) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: Write + 'static,
    M: Fn() -> W + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(ansi)
        .with_writer(writer);
    match form {
        Form::Text => layer.event_format(Text).boxed(),
        Form::Json => layer.fmt_fields(JsonFields::new()).event_format(Json).boxed(),
    }
}

/// Writes whole lines to a log.
struct Lines(Log);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Time, level, message and fields. Spans, which say whose line it is, are for JSON.
struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let (dim, color, plain) = match writer.has_ansi_escapes() {
            true => ("\x1b[2m", color(level), "\x1b[0m"),
            false => ("", "", ""),
        };
        write!(writer, "{dim}")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "{plain} {color}{level:>5}{plain} ")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// One object: timestamp (RFC 3339), level, target, message, then the fields of the spans around it and its own.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            let known = fields.and_then(|fields| serde_json::from_str::<Map<String, Value>>(fields).ok());
            line.extend(known.into_iter().flatten());
        }
        event.record(&mut Fields(&mut line));
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Takes an event's fields into an object.
struct Fields<'a>(&'a mut Map<String, Value>);

/// What every line has, which a field of the same name must not hide.
const OWN: [&str; 3] = ["timestamp", "level", "target"];

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = match OWN.contains(&field.name()) {
            true => format!("field_{}", field.name()),
            false => field.name().to_owned(),
        };
        self.0.insert(name, value);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a log of this form has of these events.
    fn written(form: Form, role: Role, events: impl FnOnce()) -> String {
        let log = Log::in_memory("test.log");
        let to = log.clone();
        let subscriber = tracing_subscriber::registry()
            .with(vec![layer(form, false, move || Lines(to.clone()))])
            .with(EnvFilter::new(role.levels()));
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(log.recent()).unwrap()
    }

    #[test]
    fn json_has_an_object_a_line_with_whose_it_is() {
        let text = written(Form::Json, Role::JobManager, || {
            let _job = tracing::info_span!("job", job_id = "ab12", job_name = "orders").entered();
            tracing::warn!(checkpoint = 7_u64, level = "own", "it \"failed\"\nonce");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        for (field, value) in [
            ("level", "WARN"),
            ("field_level", "own"),
            ("message", "it \"failed\"\nonce"),
            ("job_id", "ab12"),
            ("job_name", "orders"),
        ] {
            assert_eq!(line[field], value, "{text}");
        }
        assert_eq!(line["checkpoint"], 7);
        assert!(line["target"].as_str().unwrap().starts_with("millrace"), "{text}");
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(
            timestamp.len() >= 20 && timestamp.ends_with('Z') && &timestamp[10..11] == "T",
            "{timestamp}"
        );
    }

    #[test]
    fn text_has_no_spans() {
        let text = written(Form::Text, Role::JobManager, || {
            let _job = tracing::info_span!("job", job_id = "ab12").entered();
            tracing::info!(bytes = 3, "written");
        });
        assert!(text.ends_with("  INFO written bytes=3\n"), "{text}");
        assert!(!text.contains("ab12"), "{text}");
    }

    #[test]
    fn flinks_lines_are_for_clusters() {
        let says = |role| written(Form::Text, role, words::application_completed);
        assert!(says(Role::JobManager).contains("Application completed SUCCESSFULLY"));
        assert_eq!(says(Role::Command), "");
    }

    #[test]
    fn another_form_is_refused() {
        let mut config = Configuration::default();
        assert_eq!(Form::chosen(&config).unwrap(), Form::Text);
        config.set(options::LOG_FORMAT.key, "JSON");
        assert_eq!(Form::chosen(&config).unwrap(), Form::Json);
        config.set(options::LOG_FORMAT.key, "xml");
        assert!(Form::chosen(&config).is_err());
    }
}
