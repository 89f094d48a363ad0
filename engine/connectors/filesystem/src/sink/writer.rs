//! The writer of one subtask.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::task::Poll;
use std::time::Instant;

use arrow::array::{ArrayRef, UInt32Array};
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
use super::pending::{Pending, Shown, WriterState, show, sync_folder};
use super::run_tag;
use crate::options::Settings;
use crate::{partitions, schema};

/// Partitions that are written at the same time; the one without rows for longest gives way.
const MAX_OPEN: usize = 256;
/// Files that one call shows.
const RENAMES: usize = 64;

pub struct Writer {
    table: String,
    settings: Settings,
    columns: RowType,
    /// Columns in files, and columns that are partitions, by index.
    in_files: Vec<usize>,
    partition_keys: Vec<usize>,
    schema: SchemaRef,
    /// None for Parquet.
    encoder: Option<Box<dyn Encoder>>,
    payloads: Payloads,
    names: Names,
    open: HashMap<String, Part>,
    /// Closed since the last checkpoint was begun.
    closed: Vec<Pending>,
    /// The checkpoint that is being taken.
    begun: Option<CheckpointId>,
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
        let encoder = if settings.is_parquet() {
            None
        } else {
            Some(formats.format(&table.name, &settings.format)?.encoder(
                table,
                &settings.prefix(),
                &fields,
            )?)
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
            settings,
            in_files,
            partition_keys,
            encoder,
            payloads: Payloads::new(),
            open: HashMap::new(),
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

    fn write_part(&mut self, partition: String, rows: RecordBatch) -> Result<()> {
        let now = Instant::now();
        if !self.open.contains_key(&partition) {
            if self.open.len() >= MAX_OPEN {
                let oldest = self
                    .open
                    .iter()
                    .min_by_key(|(_, part)| part.last_rows)
                    .map(|(key, _)| key.clone());
                if let Some(part) = oldest.and_then(|key| self.open.remove(&key)) {
                    self.closed.push(part.finish()?);
                }
            }
            let kind = match self.encoder {
                Some(_) => Kind::Text,
                None => Kind::Parquet {
                    schema: &self.schema,
                    compression: self.settings.compression,
                },
            };
            let folder = part::folder(&self.settings.path, &partition);
            let part = Part::open(&folder, &mut self.names, kind, now)?;
            self.open.insert(partition.clone(), part);
        }
        let Some(part) = self.open.get_mut(&partition) else {
            return Err(Error::internal("a part file is not open"));
        };
        part.write(rows, self.encoder.as_deref_mut(), &mut self.payloads, now)?;
        if part.bytes() >= self.settings.rolling.bytes
            && let Some(part) = self.open.remove(&partition)
        {
            self.closed.push(part.finish()?);
        }
        Ok(())
    }

    /// Closes one part that is too old, at most.
    fn roll_by_age(&mut self) -> Result<()> {
        let now = Instant::now();
        let rolling = self.settings.rolling;
        if now.duration_since(self.last_check) < rolling.check {
            return Ok(());
        }
        let old = self.open.iter().find(|(_, part)| {
            now.duration_since(part.opened) >= rolling.age
                || now.duration_since(part.last_rows) >= rolling.inactivity
        });
        match old
            .map(|(key, _)| key.clone())
            .and_then(|key| self.open.remove(&key))
        {
            Some(part) => self.closed.push(part.finish()?),
            None => self.last_check = now,
        }
        Ok(())
    }
}

impl SinkWriter for Writer {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }

    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        if let Some(row) =
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
            let columns = match rows {
                None => columns.clone(),
                Some(rows) => columns
                    .iter()
                    .map(|c| take(c, &rows, None))
                    .collect::<std::result::Result<Vec<_>, _>>()
                    .map_err(misfit)?,
            };
            let rows = RecordBatch::try_new(self.schema.clone(), columns).map_err(misfit)?;
            self.write_part(partition, rows)?;
        }
        self.roll_by_age()
    }

    fn idle(&mut self) -> Result<()> {
        self.roll_by_age()
    }

    fn begin_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()> {
        failpoint::pass("sink.before-flush");
        self.begun = Some(checkpoint);
        Ok(())
    }

    fn poll_checkpoint(&mut self) -> Result<Poll<Vec<u8>>> {
        let Some(checkpoint) = self.begun else {
            return Err(Error::internal("a checkpoint is polled that was not begun"));
        };
        let next = self.open.keys().next().cloned();
        if let Some(part) = next.and_then(|key| self.open.remove(&key)) {
            self.closed.push(part.finish()?);
            // One file a call: syncing takes its time.
            if !self.open.is_empty() {
                self.waker.wake();
                return Ok(Poll::Pending);
            }
        }
        failpoint::pass("sink.after-flush");
        let closed = std::mem::take(&mut self.closed);
        // What is shown leaves the state with this checkpoint, so its names must be durable by now.
        while let Some(folder) = self.unsynced.pop_first() {
            sync_folder(&folder)?;
        }
        // The hidden names must outlive a crash of the machine, too.
        let folders: BTreeSet<_> = closed.iter().filter_map(|f| f.hidden.parent()).collect();
        folders
            .iter()
            .try_for_each(|f| sync_tree(f, &self.settings.path))?;
        if !closed.is_empty() {
            self.waiting.entry(checkpoint).or_default().extend(closed);
        }
        self.begun = None;
        let pending = self
            .to_show
            .iter()
            .chain(self.waiting.values().flatten())
            .cloned()
            .collect();
        let state = WriterState::write(pending)?;
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
        while let Some(folder) = self.unsynced.pop_first() {
            sync_folder(&folder)?;
        }
        self.shown = 0;
        failpoint::pass("sink.after-commit");
        Ok(Poll::Ready(()))
    }
}

/// Syncs a folder and those above it up to the table's: each may be new.
fn sync_tree(folder: &std::path::Path, root: &std::path::Path) -> Result<()> {
    for folder in folder.ancestors() {
        sync_folder(folder)?;
        if folder == root {
            // The table's own folder may be new as well.
            return root.parent().map_or(Ok(()), sync_folder);
        }
    }
    Ok(())
}
