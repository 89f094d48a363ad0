//! The connector `filesystem`: files of a folder as a table, read to their end or written exactly once.
//!
//! It may depend on `millrace-connector-api`, `millrace-formats` and what stands below them.
//!
//! Files are local. A call reads or writes at most about a MiB, or a row group of Parquet, and so
//! blocks no longer than the local disk takes for that; there is no thread of its own. One call of a
//! checkpoint syncs one file.
//!
//! Invariants: a reader's state is the place in each of its files behind the last row that it gave;
//! a file that is being written is hidden (its name begins with a dot) and gets its name only when a
//! checkpoint that names it is complete; what no restored checkpoint names is never shown.
//!
//! Layout: `options` the WITH clause, `listing` files of a folder, `partitions` folders `column=value`,
//! `schema` the columns in files and Parquet's types, `timestamps` those of Parquet, `source` reading, `sink` writing.

mod listing;
mod options;
mod partitions;
mod schema;
mod sink;
mod source;
mod timestamps;

use millrace_connector_api::sink::SinkFactory;
use millrace_connector_api::source::SourceFactory;
use millrace_connector_api::{Connector, OptionSpec, Registry};

/// The connector, for a registry.
pub struct FilesystemConnector {
    source: source::Source,
    sink: sink::Sink,
}

impl FilesystemConnector {
    /// A connector whose files can have these formats, and Parquet.
    pub fn new(formats: Registry) -> Self {
        FilesystemConnector {
            source: source::Source::new(formats.clone()),
            sink: sink::Sink::new(formats),
        }
    }
}

impl Connector for FilesystemConnector {
    fn identifier(&self) -> &'static str {
        "filesystem"
    }

    fn options(&self) -> &'static [OptionSpec] {
        options::OPTIONS
    }

    fn source(&self) -> Option<&dyn SourceFactory> {
        Some(&self.source)
    }

    fn sink(&self) -> Option<&dyn SinkFactory> {
        Some(&self.sink)
    }
}
