//! The connector `print`: each row as a line on the process's standard output or standard error.
//!
//! Lines appear when a batch is written, whatever becomes of the checkpoint: after a failure rows
//! can be printed again, as with Flink. A reader of the output that does not read holds the
//! subtask up: there is nothing else to do with its rows.

use std::io::Write;
use std::task::Poll;

use millrace_connector_api::sink::{
    RecoverContext, Recovered, SinkChangelog, SinkContext, SinkFactory, SinkTraits, SinkWriter,
};
use millrace_connector_api::source::SourceFactory;
use millrace_connector_api::{ChangeBatch, Connector, OptionSpec, Options};
use millrace_core::options::TEST_WATERMARKS;
use millrace_core::{CheckpointId, Error, Result};
use millrace_dataflow::{SinkSpec, TableSpec};
use millrace_expr::{Field, RowType};

use millrace_formats::row_text::RowText;

pub struct Print;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required("connector", "print"),
    OptionSpec::optional("print-identifier", None, "what each line begins with"),
    OptionSpec::optional("standard-error", Some("false"), "prints to standard error"),
    OptionSpec::optional("sink.parallelism", None, "number of subtasks that print"),
    OptionSpec::optional("property-version", None, "accepted for Flink's sake"),
];

impl Connector for Print {
    fn identifier(&self) -> &'static str {
        "print"
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn source(&self) -> Option<&dyn SourceFactory> {
        None
    }

    fn sink(&self) -> Option<&dyn SinkFactory> {
        Some(self)
    }
}

impl SinkFactory for Print {
    fn metadata(&self, _: &TableSpec) -> Result<Vec<Field>> {
        Ok(Vec::new())
    }

    fn validate(&self, table: &TableSpec) -> Result<SinkTraits> {
        let options = Options::new(&table.name, &table.options);
        options.check(&[OPTIONS])?;
        options.get_or("standard-error", false)?;
        let parallelism: Option<usize> = options.get("sink.parallelism")?;
        if parallelism == Some(0) {
            return Err(options.wrong("sink.parallelism", "a whole number from 1"));
        }
        Ok(SinkTraits {
            needs_checkpoints: false,
            parallelism,
            changelog: SinkChangelog::All,
        })
    }

    fn check(&self, _: &SinkSpec) -> Result<()> {
        Ok(())
    }

    fn attempt_record(&self, _: &SinkSpec, _: u64, _: usize) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn recover(&self, _: &SinkSpec, _: RecoverContext) -> Result<Recovered> {
        Ok(Recovered::default())
    }

    fn open(&self, spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn SinkWriter>> {
        let options = Options::new(&spec.table.name, &spec.table.options);
        let identifier = options.raw("print-identifier").unwrap_or("");
        Ok(Box::new(Writer {
            input: spec.input(),
            prefix: prefix(identifier, context.subtask, context.parallelism),
            standard_error: options.get_or("standard-error", false)?,
            tells_watermarks: context.config.get(&TEST_WATERMARKS)?,
            risen: None,
            lines: Vec::new(),
        }))
    }
}

/// `identifier:subtask> `, the subtask counted from 1 and only where there are several.
fn prefix(identifier: &str, subtask: usize, parallelism: usize) -> String {
    let mut prefix = identifier.to_owned();
    if parallelism > 1 {
        if !prefix.is_empty() {
            prefix.push(':');
        }
        prefix.push_str(&(subtask + 1).to_string());
    }
    if !prefix.is_empty() {
        prefix.push_str("> ");
    }
    prefix
}

struct Writer {
    input: RowType,
    prefix: String,
    standard_error: bool,
    /// `millrace.test.print-watermarks`.
    tells_watermarks: bool,
    /// A watermark that came after the last row.
    risen: Option<i64>,
    lines: Vec<u8>,
}

impl Writer {
    fn render(&mut self, batch: &ChangeBatch) -> Result<()> {
        let text = RowText::new(&self.input.fields, batch.rows.columns())?;
        self.lines.clear();
        if let Some(millis) = self.risen.take().filter(|_| self.tells_watermarks) {
            writeln!(self.lines, "{}@{millis}", self.prefix)
                .map_err(|e| Error::external("cannot print rows").with_source(e))?;
        }
        for row in 0..batch.len() {
            self.lines.extend_from_slice(self.prefix.as_bytes());
            text.write(batch.kind(row), row, &mut self.lines);
            self.lines.push(b'\n');
        }
        Ok(())
    }
}

impl SinkWriter for Writer {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }

    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        self.render(batch)?;
        // One call a batch: lines of several subtasks do not mix.
        let written = if self.standard_error {
            let mut out = std::io::stderr().lock();
            out.write_all(&self.lines).and_then(|()| out.flush())
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(&self.lines).and_then(|()| out.flush())
        };
        written.map_err(|e| Error::external("cannot print rows").with_source(e))
    }

    fn watermark(&mut self, millis: i64) {
        self.risen = Some(millis);
    }

    fn begin_checkpoint(&mut self, _: CheckpointId) -> Result<()> {
        Ok(())
    }

    fn poll_checkpoint(&mut self) -> Result<Poll<Vec<u8>>> {
        Ok(Poll::Ready(Vec::new()))
    }

    fn checkpoint_complete(&mut self, _: CheckpointId) -> Result<()> {
        Ok(())
    }

    fn poll_commits(&mut self) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_flinks() {
        assert_eq!(prefix("", 0, 1), "");
        assert_eq!(prefix("", 1, 2), "2> ");
        assert_eq!(prefix("out", 0, 1), "out> ");
        assert_eq!(prefix("out", 1, 2), "out:2> ");
    }
}
