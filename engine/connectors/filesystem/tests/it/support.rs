//! Tables, readers and writers for the tests.

use std::path::Path;
use std::task::Poll;

use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use millrace_connector_api::sink::{RecoverContext, Recovered, SinkContext, SinkWriter};
use millrace_connector_api::source::{SourceContext, SourcePoll, SourceReader};
use millrace_connector_api::{ChangeBatch, Connector, Registry, Waker};
use millrace_connector_filesystem::FilesystemConnector;
use millrace_core::{CheckpointId, Configuration, Result};
use millrace_dataflow::{SinkSpec, SourceSpec, TableSpec};
use millrace_expr::Field;

pub fn connector() -> FilesystemConnector {
    let mut formats = Registry::default();
    millrace_formats::register(&mut formats);
    FilesystemConnector::new(formats)
}

pub fn table(path: &Path, format: &str, columns: Vec<Field>, more: &[(&str, &str)]) -> TableSpec {
    let mut options = vec![
        ("connector", "filesystem"),
        ("path", path.to_str().unwrap()),
        ("format", format),
    ];
    options.extend_from_slice(more);
    TableSpec {
        name: "t".to_owned(),
        options: options
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        columns,
        metadata: Vec::new(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub fn all_columns(table: &TableSpec) -> SourceSpec {
    SourceSpec {
        projection: (0..table.columns.len()).collect(),
        metadata: Vec::new(),
        table: table.clone(),
    }
}

pub fn reader(
    spec: &SourceSpec,
    subtask: usize,
    parallelism: usize,
    max_rows: usize,
    restored: Option<Vec<Vec<u8>>>,
) -> Result<Box<dyn SourceReader>> {
    let runtime = runtime();
    let context = SourceContext {
        config: Configuration::default(),
        job_name: "job".to_owned(),
        uid: "source".to_owned(),
        subtask,
        parallelism,
        max_rows,
        waker: Waker::default(),
        restored,
        runtime: runtime.handle().clone(),
    };
    connector().source().unwrap().open(spec, context)
}

/// The next batch's rows as text, fields joined by `|`; `None` at the end.
pub fn next(reader: &mut dyn SourceReader) -> Result<Option<Vec<String>>> {
    match reader.poll()? {
        SourcePoll::Batch(batch) => Ok(Some(rows(&batch.batch.rows))),
        SourcePoll::Pending => panic!("a reader of files waits for nothing"),
        SourcePoll::End => Ok(None),
    }
}

pub fn rows(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows())
        .map(|row| {
            let cell = |c: &arrow::array::ArrayRef| {
                if c.is_null(row) {
                    "NULL".to_owned()
                } else {
                    array_value_to_string(c, row).unwrap()
                }
            };
            batch.columns().iter().map(cell).collect::<Vec<_>>().join("|")
        })
        .collect()
}

pub fn drain(reader: &mut dyn SourceReader) -> Result<Vec<String>> {
    let mut all = Vec::new();
    while let Some(rows) = next(reader)? {
        all.extend(rows);
    }
    Ok(all)
}

pub fn read_all(table: &TableSpec) -> Result<Vec<String>> {
    drain(reader(&all_columns(table), 0, 1, 8192, None)?.as_mut())
}

pub fn sink_spec(table: &TableSpec) -> SinkSpec {
    SinkSpec {
        table: table.clone(),
        metadata: Vec::new(),
    }
}

pub fn writer(table: &TableSpec, subtask: usize, attempt: u64) -> Box<dyn SinkWriter> {
    let runtime = runtime();
    let context = SinkContext {
        config: Configuration::default(),
        job_name: "job".to_owned(),
        uid: "sink".to_owned(),
        subtask,
        parallelism: 1,
        attempt,
        gated: false,
        waker: Waker::default(),
        runtime: runtime.handle().clone(),
    };
    connector()
        .sink()
        .unwrap()
        .open(&sink_spec(table), context)
        .unwrap()
}

pub fn write(writer: &mut dyn SinkWriter, batch: RecordBatch) {
    assert!(writer.poll_ready().unwrap().is_ready());
    writer.write(&ChangeBatch::inserts(batch)).unwrap();
}

pub fn checkpoint(writer: &mut dyn SinkWriter, id: u64) -> Vec<u8> {
    writer.begin_checkpoint(CheckpointId(id)).unwrap();
    state(writer)
}

/// The checkpoint with which a job ends, and what it makes visible.
pub fn end(writer: &mut dyn SinkWriter, id: u64) -> Vec<u8> {
    writer.begin_last_checkpoint(CheckpointId(id)).unwrap();
    let state = state(writer);
    complete(writer, id);
    state
}

fn state(writer: &mut dyn SinkWriter) -> Vec<u8> {
    loop {
        if let Poll::Ready(state) = writer.poll_checkpoint().unwrap() {
            return state;
        }
    }
}

pub fn complete(writer: &mut dyn SinkWriter, id: u64) {
    writer.checkpoint_complete(CheckpointId(id)).unwrap();
    while writer.poll_commits().unwrap().is_pending() {}
}

pub struct Recovery {
    pub restored: Vec<Vec<u8>>,
    pub newest: Option<Vec<Vec<u8>>>,
    pub committed: bool,
    pub attempts: Vec<u64>,
}

pub fn recover(table: &TableSpec, recovery: Recovery) -> Result<Recovered> {
    let runtime = runtime();
    let connector = connector();
    let sink = connector.sink().unwrap();
    let spec = sink_spec(table);
    let context = RecoverContext {
        config: Configuration::default(),
        uid: "sink".to_owned(),
        runtime: runtime.handle().clone(),
        restored: recovery.restored,
        committed: recovery.committed,
        newest: recovery.newest,
        earlier_attempts: recovery
            .attempts
            .iter()
            .map(|a| sink.attempt_record(&spec, *a, 1).unwrap())
            .collect(),
        elsewhere: false,
        may_lose: false,
    };
    sink.recover(&spec, context)
}
