//! The writer of one subtask.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Instant;

use arrow::array::{ArrayRef, UInt8Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_connector_api::format::{Encoder, Payloads};
use millrace_connector_api::sink::{SinkContext, SinkWriter};
use millrace_connector_api::{ChangeBatch, Registry, Waker};
use millrace_core::{CheckpointId, Error, Result, RowKind, failpoint};
use millrace_dataflow::SinkSpec;
use millrace_expr::RowType;

use super::part::{self, Kind, Names, Part};
use super::pending::{Growing, Pending, Shown, WriterState, show, sync_folder};
use super::run_tag;
use crate::options::Settings;
use crate::{partitions, schema};

/// Partitions that are written at the same time; the one without rows for longest gives way.
const MAX_OPEN: usize = 256;
/// Files that one call shows.
const RENAMES: usize = 64;
/// Folders that one call syncs.
const FOLDERS: usize = 8;

pub struct Writer {
    table: String,
    settings: Settings,
    columns: RowType,
    /// Columns in files, and columns that are partitions, by index.
    in_files: Vec<usize>,
    partition_keys: Vec<usize>,
    schema: SchemaRef,
    /// None for Parquet.
    takes_all_kinds: bool,
    encoder: Option<Box<dyn Encoder>>,
    payloads: Payloads,
    names: Names,
    open: HashMap<String, Part>,
    /// Bytes of rows in memory, of all open files.
    memory: usize,
    /// Whether a checkpoint closes all files, as with Flink's bulk formats, CSV among them.
    closes_at_checkpoint: bool,
    /// Closed since the last checkpoint was begun.
    closed: Vec<Pending>,
    begun: Option<Begun>,
    /// Closed for a checkpoint that was taken, by that checkpoint.
    waiting: BTreeMap<CheckpointId, Vec<Pending>>,
    /// Of completed checkpoints, to be shown.
    to_show: VecDeque<Pending>,
    /// Folders with names that are not durable yet.
    unsynced: BTreeSet<PathBuf>,
    shown: u64,
    last_check: Instant,
    waker: Waker,
}

/// The checkpoint that is being taken.
struct Begun {
    checkpoint: CheckpointId,
    /// Closes all files, whatever the format.
    last: bool,
    /// Whether files that are too old are closed.
    checks_age: bool,
    /// Open files that are not seen to yet, by partition.
    rest: Vec<String>,
    /// Files that go on behind the checkpoint.
    growing: Vec<Growing>,
    /// Of the closed files, those whose folders are in `folders`.
    named: usize,
    /// Folders that have names to be made durable.
    folders: BTreeSet<PathBuf>,
}

impl Writer {
    pub fn open(
        spec: &SinkSpec,
        settings: Settings,
        formats: Registry,
        context: SinkContext,
    ) -> Result<Self> {
        let table = &spec.table;
        let in_files = schema::in_files(table);
        let fields = schema::row_type(table, &in_files);
        let mut takes_all_kinds = false;
        let encoder = if settings.is_parquet() {
            None
        } else {
            let format = formats.format(&table.name, &settings.format)?;
            takes_all_kinds = format.is_changelog();
            Some(format.encoder(table, &settings.prefix(), &fields)?)
        };
        let partition_keys = table
            .partition_keys
            .iter()
            .filter_map(|key| table.columns.iter().position(|c| c.name == *key))
            .collect();
        Ok(Writer {
            table: table.name.clone(),
            columns: RowType::new(table.columns.clone()),
            schema: schema::arrow_schema(&fields),
            names: Names {
                uuid: uuid::Uuid::new_v4().to_string(),
                subtask: context.subtask,
                run: run_tag(&context.config, &context.uid),
                attempt: context.attempt,
                next: 0,
            },
            // Flink closes files of its bulk formats.
            closes_at_checkpoint: matches!(settings.format.as_str(), "csv" | "parquet"),
            settings,
            in_files,
            takes_all_kinds,
            partition_keys,
            encoder,
            payloads: Payloads::new(),
            open: HashMap::new(),
            memory: 0,
            closed: Vec::new(),
            begun: None,
            waiting: BTreeMap::new(),
            to_show: VecDeque::new(),
            unsynced: BTreeSet::new(),
            shown: 0,
            last_check: Instant::now(),
            waker: context.waker,
        })
    }

    /// Rows by the folder of their partition, in order.
    fn by_partition(&self, batch: &ChangeBatch) -> Vec<(String, Option<UInt32Array>)> {
        if self.partition_keys.is_empty() {
            return vec![(String::new(), None)];
        }
        let keys: Vec<_> = self
            .partition_keys
            .iter()
            .map(|&i| (&self.columns.fields[i], batch.rows.column(i)))
            .collect();
        let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        let (mut path, mut scratch) = (String::new(), Vec::new());
        for row in 0..batch.len() {
            path.clear();
            partitions::write(
                &keys,
                row,
                &self.settings.default_partition,
                &mut scratch,
                &mut path,
            );
            let group = match index.get(&path) {
                Some(group) => *group,
                None => {
                    groups.push((path.clone(), Vec::new()));
                    index.insert(path.clone(), groups.len() - 1);
                    groups.len() - 1
                }
            };
            groups[group].1.push(row as u32);
        }
        let single = groups.len() == 1;
        groups
            .into_iter()
            .map(|(path, rows)| (path, (!single).then(|| UInt32Array::from(rows))))
            .collect()
    }

    fn write_part(&mut self, partition: String, rows: ChangeBatch) -> Result<()> {
        let now = Instant::now();
        if !self.open.contains_key(&partition) {
            if self.open.len() >= MAX_OPEN {
                let oldest = self
                    .open
                    .iter()
                    .min_by_key(|(_, part)| part.last_rows)
                    .map(|(key, _)| key.clone());
                if let Some(part) = oldest.and_then(|key| self.open.remove(&key)) {
                    self.close(part)?;
                }
            }
            let kind = match self.encoder {
                Some(_) => Kind::Text,
                None => Kind::Parquet {
                    schema: &self.schema,
                    settings: self.settings.parquet,
                },
            };
            let folder = part::folder(&self.settings.path, &partition);
            let part = Part::open(&folder, &mut self.names, kind, now)?;
            self.open.insert(partition.clone(), part);
        }
        let Some(part) = self.open.get_mut(&partition) else {
            return Err(Error::internal("a part file is not open"));
        };
        let before = part.memory();
        part.write(rows, self.encoder.as_deref_mut(), &mut self.payloads, now)?;
        self.memory = (self.memory + part.memory()).saturating_sub(before);
        if part.bytes() > self.settings.rolling.bytes
            && let Some(part) = self.open.remove(&partition)
        {
            self.close(part)?;
        }
        self.relieve_memory()
    }

    fn close(&mut self, part: Part) -> Result<()> {
        self.memory = self.memory.saturating_sub(part.memory());
        self.closed.push(part.finish()?);
        Ok(())
    }

    /// While the open files' row groups are too large together, ends the largest.
    fn relieve_memory(&mut self) -> Result<()> {
        while self.memory > self.settings.memory {
            let Some(largest) = self.open.values_mut().max_by_key(|part| part.memory()) else {
                break;
            };
            let held = largest.memory();
            if held == 0 {
                break;
            }
            largest.relieve()?;
            self.memory = self.memory.saturating_sub(held - largest.memory().min(held));
        }
        Ok(())
    }

    /// Closes one part that is too old, at most.
    fn roll_by_age(&mut self) -> Result<()> {
        let now = Instant::now();
        if !self.age_is_due(now) {
            return Ok(());
        }
        let old = self.open.iter().find(|(_, part)| self.is_old(part, now));
        match old
            .map(|(key, _)| key.clone())
            .and_then(|key| self.open.remove(&key))
        {
            Some(part) => self.close(part)?,
            None => self.last_check = now,
        }
        Ok(())
    }

    fn age_is_due(&self, now: Instant) -> bool {
        now.duration_since(self.last_check) >= self.settings.rolling.check
    }

    fn is_old(&self, part: &Part, now: Instant) -> bool {
        let rolling = self.settings.rolling;
        now.duration_since(part.opened) >= rolling.age
            || now.duration_since(part.last_rows) >= rolling.inactivity
    }

    fn begin(&mut self, checkpoint: CheckpointId, last: bool) -> Result<()> {
        failpoint::pass("sink.before-flush");
        let now = Instant::now();
        let checks_age = self.age_is_due(now);
        if checks_age {
            self.last_check = now;
        }
        self.begun = Some(Begun {
            checkpoint,
            last,
            checks_age,
            rest: self.open.keys().cloned().collect(),
            growing: Vec::new(),
            named: 0,
            folders: BTreeSet::new(),
        });
        Ok(())
    }

    /// Closes an open file for the checkpoint, or makes durable what it has so far.
    fn save(&mut self, partition: String, begun: &mut Begun) -> Result<()> {
        let Some(part) = self.open.get(&partition) else {
            return Ok(());
        };
        let closes = begun.last
            || self.closes_at_checkpoint
            || part.bytes() > self.settings.rolling.bytes
            || (begun.checks_age && self.is_old(part, Instant::now()));
        if !closes
            && let Some(part) = self.open.get_mut(&partition)
            && let Some(growing) = part.hold()?
        {
            if !std::mem::replace(&mut part.named, true) {
                begun
                    .folders
                    .extend(growing.file.hidden.parent().map(PathBuf::from));
            }
            begun.growing.push(growing);
        } else if let Some(part) = self.open.remove(&partition) {
            self.close(part)?;
        }
        Ok(())
    }
}

impl SinkWriter for Writer {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }

    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        if !self.takes_all_kinds
            && let Some(row) =
                (0..batch.len()).find(|&r| batch.kinds.is_some() && batch.kind(r) != RowKind::Insert)
        {
            return Err(Error::user(format!("table '{}' takes only new rows", self.table))
                .with_detail(format!("a row of kind {} arrived", batch.kind(row))));
        }
        if batch.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = self
            .in_files
            .iter()
            .map(|&i| batch.rows.column(i).clone())
            .collect();
        let misfit = |e| Error::internal("rows do not fit the table that they are written to").with_source(e);
        for (partition, rows) in self.by_partition(batch) {
            let (columns, kinds) = match rows {
                None => (columns.clone(), batch.kinds.clone()),
                Some(rows) => {
                    let columns = columns.iter().map(|c| take(c, &rows, None));
                    let columns = columns
                        .collect::<std::result::Result<Vec<_>, _>>()
                        .map_err(misfit)?;
                    let of_rows =
                        |kinds: &UInt8Array| rows.values().iter().map(|r| kinds.value(*r as usize)).collect();
                    (columns, batch.kinds.as_ref().map(of_rows))
                }
            };
            let rows = RecordBatch::try_new(self.schema.clone(), columns).map_err(misfit)?;
            self.write_part(partition, ChangeBatch { rows, kinds })?;
        }
        self.roll_by_age()
    }

    fn idle(&mut self) -> Result<()> {
        self.roll_by_age()
    }

    fn begin_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.begin(checkpoint, false)
    }

    fn begin_last_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.begin(checkpoint, true)
    }

    fn poll_checkpoint(&mut self) -> Result<Poll<Vec<u8>>> {
        let Some(mut begun) = self.begun.take() else {
            return Err(Error::internal("a checkpoint is polled that was not begun"));
        };
        if let Some(partition) = begun.rest.pop() {
            self.save(partition, &mut begun)?;
            // One file a call: syncing takes its time.
            if !begun.rest.is_empty() {
                self.begun = Some(begun);
                self.waker.wake();
                return Ok(Poll::Pending);
            }
        }
        // What is shown leaves the state with this checkpoint, so its names must be durable by now;
        // the hidden names must outlive a crash of the machine, too.
        begun.folders.append(&mut self.unsynced);
        for file in &self.closed[begun.named..] {
            add_tree(&mut begun.folders, file.hidden.parent(), &self.settings.path);
        }
        begun.named = self.closed.len();
        for _ in 0..FOLDERS {
            let Some(folder) = begun.folders.pop_first() else {
                break;
            };
            sync_folder(&folder)?;
        }
        if !begun.folders.is_empty() {
            self.begun = Some(begun);
            self.waker.wake();
            return Ok(Poll::Pending);
        }
        failpoint::pass("sink.after-flush");
        let closed = std::mem::take(&mut self.closed);
        if !closed.is_empty() {
            self.waiting.entry(begun.checkpoint).or_default().extend(closed);
        }
        let pending = self
            .to_show
            .iter()
            .chain(self.waiting.values().flatten())
            .cloned()
            .collect();
        let state = WriterState::new(pending, begun.growing).write()?;
        failpoint::pass("sink.after-handle");
        Ok(Poll::Ready(state))
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        let later = self.waiting.split_off(&checkpoint.next());
        let complete = std::mem::replace(&mut self.waiting, later);
        self.to_show.extend(complete.into_values().flatten());
        Ok(())
    }

    fn poll_commits(&mut self) -> Result<Poll<()>> {
        if self.to_show.is_empty() && self.unsynced.is_empty() {
            return Ok(Poll::Ready(()));
        }
        for _ in 0..RENAMES {
            let Some(file) = self.to_show.front() else { break };
            failpoint::pass(if self.shown == 0 {
                "sink.before-commit"
            } else {
                "sink.between-commits"
            });
            if show(file)? == Shown::Missing {
                return Err(Error::data_loss("a file of a completed checkpoint is missing")
                    .with_detail(file.hidden.display().to_string())
                    .with_hint("something else deletes or moves files whose names begin with a dot"));
            }
            self.unsynced.extend(file.target.parent().map(PathBuf::from));
            self.to_show.pop_front();
            self.shown += 1;
        }
        if !self.to_show.is_empty() {
            self.waker.wake();
            return Ok(Poll::Pending);
        }
        for _ in 0..FOLDERS {
            let Some(folder) = self.unsynced.pop_first() else {
                break;
            };
            sync_folder(&folder)?;
        }
        if !self.unsynced.is_empty() {
            self.waker.wake();
            return Ok(Poll::Pending);
        }
        self.shown = 0;
        failpoint::pass("sink.after-commit");
        Ok(Poll::Ready(()))
    }
}

/// Adds a folder and those above it up to the one that the table's is in: each may be new.
fn add_tree(folders: &mut BTreeSet<PathBuf>, folder: Option<&Path>, root: &Path) {
    for folder in folder.into_iter().flat_map(Path::ancestors) {
        folders.insert(folder.to_owned());
        if folder == root {
            folders.extend(root.parent().map(PathBuf::from));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use millrace_core::Configuration;
    use millrace_dataflow::TableSpec;
    use millrace_expr::{DataType, Field};
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    /// Rows of many open files end up in row groups before they fill the memory.
    #[test]
    fn open_parquet_files_share_one_budget() {
        const BUDGET: usize = 256 << 10;
        let folder = tempfile::tempdir().unwrap();
        let columns = vec![
            Field::new("id", DataType::bigint()),
            Field::new("part", DataType::bigint()),
        ];
        let table = TableSpec {
            name: "t".to_owned(),
            options: [
                ("connector", "filesystem"),
                ("path", folder.path().to_str().unwrap()),
                ("format", "parquet"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
            columns: columns.clone(),
            metadata: Vec::new(),
            primary_key: Vec::new(),
            partition_keys: vec!["part".to_owned()],
        };
        let formats = Registry::default();
        let mut settings = Settings::new(&table, &formats).unwrap();
        settings.memory = BUDGET;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let context = SinkContext {
            config: Configuration::default(),
            job_name: "job".to_owned(),
            uid: "sink".to_owned(),
            subtask: 0,
            parallelism: 1,
            attempt: 1,
            gated: false,
            waker: Waker::default(),
            runtime: runtime.handle().clone(),
        };
        let spec = SinkSpec {
            table,
            metadata: Vec::new(),
        };
        let mut writer = Writer::open(&spec, settings, formats, context).unwrap();
        for batch in 0..20 {
            let rows = batch * 2000..(batch + 1) * 2000;
            // The first file gets most of the rows.
            let part = rows.clone().map(|i| if i % 10 == 0 { i % 7 } else { 0 });
            let arrays: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(rows.clone())),
                Arc::new(Int64Array::from_iter_values(part)),
            ];
            let rows = RecordBatch::try_new(RowType::new(columns.clone()).to_arrow(), arrays).unwrap();
            writer.write(&ChangeBatch::inserts(rows)).unwrap();
            let held: usize = writer.open.values().map(Part::memory).sum();
            assert_eq!(held, writer.memory);
            assert!(held <= BUDGET, "{held}");
        }
        writer.begin_last_checkpoint(CheckpointId(1)).unwrap();
        while writer.poll_checkpoint().unwrap().is_pending() {}
        assert_eq!(writer.memory, 0);
        let (mut rows, mut groups) = (0, Vec::new());
        for file in crate::listing::hidden(folder.path()).unwrap() {
            let reader = SerializedFileReader::new(std::fs::File::open(file).unwrap()).unwrap();
            rows += reader.metadata().file_metadata().num_rows();
            groups.push(reader.metadata().num_row_groups());
        }
        groups.sort_unstable();
        assert_eq!((rows, groups.len()), (40_000, 7));
        assert!(groups[6] > groups[0], "{groups:?}");
    }
}
