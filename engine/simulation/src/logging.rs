//! What the engine logs, as lines of the simulation's log; and the bugs that it reports of itself.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::kernel;

/// Words of an error that must not be, whatever goes wrong outside.
const BUGS: [&str; 4] = [
    "this is a bug of the engine",
    "kind: Internal",
    "kind=Internal",
    "kind=DataLoss",
];

/// The first that was seen.
static BUG: Mutex<Option<String>> = Mutex::new(None);

pub fn bug() -> Option<String> {
    kernel::steadily(|| BUG.lock().unwrap_or_else(|e| e.into_inner()).clone())
}

fn report(line: &str) {
    if BUGS.iter().any(|words| line.contains(words)) {
        found(line);
    }
}

/// Something happened that must not.
pub fn found(line: &str) {
    kernel::steadily(|| {
        let mut bug = BUG.lock().unwrap_or_else(|e| e.into_inner());
        bug.get_or_insert_with(|| line.to_owned());
    });
}

pub struct Log {
    level: Level,
    spans: AtomicU64,
}

impl Log {
    /// Sets it up, once a process.
    pub fn init(level: Level) {
        let log = Log {
            level,
            spans: AtomicU64::new(1),
        };
        drop(tracing::subscriber::set_global_default(log));
        std::panic::set_hook(Box::new(|panic| {
            let line = format!("panic: {panic}");
            found(&line);
            kernel::log(&line);
        }));
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        debug_assert!(written.is_ok());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level && metadata.target().starts_with("millrace")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        let line = line.0.replace('\n', " |");
        report(&line);
        kernel::log(&line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
