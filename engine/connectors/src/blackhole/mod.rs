//! The connector `blackhole`: takes every row and keeps none.

use std::task::Poll;

use millrace_connector_api::sink::{
    RecoverContext, Recovered, SinkChangelog, SinkContext, SinkFactory, SinkTraits, SinkWriter,
};
use millrace_connector_api::source::SourceFactory;
use millrace_connector_api::{ChangeBatch, Connector, OptionSpec, Options};
use millrace_core::{CheckpointId, Result};
use millrace_dataflow::{SinkSpec, TableSpec};
use millrace_expr::Field;

pub struct Blackhole;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required("connector", "blackhole"),
    OptionSpec::optional("property-version", None, "accepted for Flink's sake"),
];

impl Connector for Blackhole {
    fn identifier(&self) -> &'static str {
        "blackhole"
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

impl SinkFactory for Blackhole {
    fn metadata(&self, _: &TableSpec) -> Result<Vec<Field>> {
        Ok(Vec::new())
    }

    fn validate(&self, table: &TableSpec) -> Result<SinkTraits> {
        Options::new(&table.name, &table.options).check(&[OPTIONS])?;
        Ok(SinkTraits {
            needs_checkpoints: false,
            parallelism: None,
            changelog: SinkChangelog::Upsert,
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

    fn open(&self, _: &SinkSpec, _: SinkContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer))
    }
}

struct Writer;

impl SinkWriter for Writer {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }

    fn write(&mut self, _: &ChangeBatch) -> Result<()> {
        Ok(())
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
