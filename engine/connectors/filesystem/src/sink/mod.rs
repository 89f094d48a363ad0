//! Writing: part files that get their names when a checkpoint that names them is complete.
//!
//! While it is written a part is `.part-<uuid>-<subtask>-<n>.<run>-<attempt>.inprogress` beside the
//! place where it will be `part-<uuid>-<subtask>-<n>`; `run` is a hash of job, checkpoint folder and
//! sink, so that a recovery finds what earlier attempts of this sink left, and nobody else's files.
//!
//! As in Flink, a checkpoint closes the files of Parquet and CSV; files of json and raw are written on
//! until they have the size or the age of the rolling policy. The writer's state names the closed
//! files, and of open ones also how many bytes belong to the checkpoint. The checkpoint with which a
//! job ends or stops closes all: Flink's stop leaves open files hidden until the job goes on.
//!
//! Rows show only by a completed checkpoint, but a job need not take them regularly for it: the
//! runtime ends each bounded job with one. So `needs_checkpoints` is false; an unbounded job without
//! an interval shows its rows when it is stopped.
//!
//! Layout: `part` one file being written, `parquet` and `int96` the writing of Parquet, `pending` what a checkpoint holds, `writer` the
//! subtask's writer, `recovery` the way back to a checkpoint.

mod int96;
mod parquet;
mod part;
mod pending;
mod recovery;
mod writer;

use millrace_connector_api::Registry;
use millrace_connector_api::sink::{
    RecoverContext, Recovered, SinkChangelog, SinkContext, SinkFactory, SinkTraits, SinkWriter,
};
use millrace_core::{Configuration, Error, Result, options as core_options};
use millrace_dataflow::{SinkSpec, TableSpec};
use millrace_expr::Field;
use xxhash_rust::xxh3::xxh3_64;

use crate::options::Settings;
use crate::{partitions, schema};

pub struct Sink {
    formats: Registry,
}

impl Sink {
    pub fn new(formats: Registry) -> Self {
        Sink { formats }
    }

    fn settings(&self, table: &TableSpec) -> Result<Settings> {
        let settings = Settings::new(table, &self.formats)?;
        let fields = schema::row_type(table, &schema::in_files(table));
        if settings.is_parquet() {
            schema::check_parquet(&table.name, &fields.fields)?;
        } else {
            let format = self.formats.format(&table.name, &settings.format)?;
            format.validate(table, &settings.prefix(), &fields.fields)?;
        }
        for column in table
            .columns
            .iter()
            .filter(|c| table.partition_keys.contains(&c.name))
        {
            partitions::check(&table.name, column)?;
        }
        Ok(settings)
    }
}

/// What the files of one sink of one job have in common, over all its attempts.
fn run_tag(config: &Configuration, uid: &str) -> String {
    let of = |key: &str| config.raw(key).unwrap_or_default().to_owned();
    let folders = core_options::CHECKPOINT_DIRECTORY.keys();
    let folder = folders.map(of).find(|f| !f.is_empty()).unwrap_or_default();
    let name = of(core_options::PIPELINE_NAME.key);
    format!("{:016x}", xxh3_64(format!("{name}\0{folder}\0{uid}").as_bytes()))
}

impl SinkFactory for Sink {
    fn metadata(&self, _: &TableSpec) -> Result<Vec<Field>> {
        Ok(Vec::new())
    }

    fn validate(&self, table: &TableSpec) -> Result<SinkTraits> {
        let settings = self.settings(table)?;
        let mut changelog = SinkChangelog::Inserts;
        if !settings.is_parquet() {
            let format = self.formats.format(&table.name, &settings.format)?;
            let fields = schema::row_type(table, &schema::in_files(table));
            format.encoder(table, &settings.prefix(), &fields)?;
            if format.is_changelog() {
                changelog = SinkChangelog::All;
            }
        }
        Ok(SinkTraits {
            needs_checkpoints: false,
            parallelism: settings.parallelism,
            changelog,
        })
    }

    fn check(&self, spec: &SinkSpec) -> Result<()> {
        let settings = self.settings(&spec.table)?;
        let refused = |what: &str| {
            Err(
                Error::user(format!("table '{}' cannot be written: {what}", spec.table.name))
                    .with_detail(settings.path.display().to_string()),
            )
        };
        let existing = settings.path.ancestors().find(|p| p.exists());
        match existing {
            None => refused("no folder of its path is there"),
            Some(path) if !path.is_dir() => refused("its path names a file, or lies below one"),
            Some(path) => match path.metadata() {
                Ok(found) if found.permissions().readonly() => refused("its folder is read-only"),
                Ok(_) => Ok(()),
                Err(e) => Err(crate::listing::unreadable(path, e)),
            },
        }
    }

    fn attempt_record(&self, _: &SinkSpec, attempt: u64, _: usize) -> Result<Vec<u8>> {
        Ok(attempt.to_string().into_bytes())
    }

    fn recover(&self, spec: &SinkSpec, context: RecoverContext) -> Result<Recovered> {
        let settings = self.settings(&spec.table)?;
        recovery::recover(&settings, &context)
    }

    fn open(&self, spec: &SinkSpec, context: SinkContext) -> Result<Box<dyn SinkWriter>> {
        let settings = self.settings(&spec.table)?;
        Ok(Box::new(writer::Writer::open(
            spec,
            settings,
            self.formats.clone(),
            context,
        )?))
    }
}
