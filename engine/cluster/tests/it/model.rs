//! A counting source and a transactional sink in memory, with switches to make them fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use millrace_cluster::process::{JobManager, Role, Session, TaskManagerProcess};
use millrace_cluster::{Discard, JobHandle, JobSpec, SlotSource, Start, submit, submit_to};
use millrace_connector_api::sink::{
    RecoverContext, Recovered, SinkChangelog, SinkContext, SinkFactory, SinkTraits, SinkWriter,
};
use millrace_connector_api::source::{
    SourceBatch, SourceChangelog, SourceContext, SourceFactory, SourcePoll, SourceReader, SourceTraits,
};
use millrace_connector_api::{ChangeBatch, Connector, OptionSpec, Registry};
use millrace_core::{CheckpointId, Configuration, Error, ErrorKind, JobId, Result};
use millrace_dataflow::{
    Edge, Graph, GroupAggregate, Operator, Partitioning, SinkSpec, SourceSpec, TableSpec,
};
use millrace_expr::{DataType, Field, TypeKind};
use millrace_state::JobStore;
use millrace_state::head::{Head, Resume};
use millrace_state::local::LocalStore;
use tokio::runtime::Runtime;

/// Splits of the source, whatever the parallelism.
const SPLITS: i64 = 4;
/// The one split of the second source.
const SECOND: i64 = 100;
const SECOND_TABLE: &str = "second";
const NAME: &str = "model";

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let broken = self.outside().broken.clone();
            assert!(broken.is_empty(), "{broken:#?}");
        }
    }
}

/// Everything outside of the engine: what can be read, what was written, the checkpoint folder.
pub struct World {
    outside: Arc<Mutex<Outside>>,
    pub runtime: Runtime,
    job_managers: Mutex<Vec<JobManager>>,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct Outside {
    /// Rows a split has; none: without end.
    end: Option<i64>,
    splits: i64,
    /// Rows of the second source, where the job has one.
    second: Option<i64>,
    fail: Option<(usize, ErrorKind)>,
    /// Done before the next failure is told.
    before_failure: Option<Box<dyn FnOnce() + Send>>,
    /// Whether the job keeps its rows by key.
    keyed: bool,
    die_before_commits: bool,
    read: usize,
    transactions: BTreeMap<u64, Transaction>,
    next_transaction: u64,
    visible: Vec<(i64, i64)>,
    job: Option<JobStore>,
    /// Attempts whose sinks were opened.
    opened: BTreeSet<u64>,
    /// Commits by a recovery of what was committed before.
    repeated: usize,
    /// Recoveries that were told that all is committed.
    told_committed: usize,
    /// Rules that were seen broken.
    broken: Vec<String>,
}

#[derive(Clone, Default, PartialEq)]
struct Transaction {
    attempt: u64,
    rows: Vec<(i64, i64)>,
    state: TransactionState,
}

#[derive(Clone, Copy, Default, PartialEq, Debug)]
enum TransactionState {
    #[default]
    Open,
    Committed,
    Aborted,
}

impl Outside {
    /// As a broker does it: repeating a commit is fine, committing what was aborted is loss.
    fn commit(&mut self, id: u64) -> Result<()> {
        let transaction = self.transactions.get_mut(&id).expect("the transaction is known");
        match transaction.state {
            TransactionState::Committed => Ok(()),
            TransactionState::Aborted => Err(Error::data_loss("a transaction of a checkpoint was aborted")),
            TransactionState::Open => {
                transaction.state = TransactionState::Committed;
                self.visible.extend(transaction.rows.iter().copied());
                Ok(())
            }
        }
    }
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let job = JobStore::new(Arc::new(LocalStore::new(folder.path())), NAME);
        let outside = Outside {
            splits: 1,
            job: Some(job),
            ..Default::default()
        };
        World {
            outside: Arc::new(Mutex::new(outside)),
            runtime: Runtime::new().unwrap(),
            job_managers: Mutex::default(),
            folder,
        }
    }

    fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn end_after(&self, rows: i64) {
        let mut outside = self.outside();
        outside.end = Some(rows);
        outside.die_before_commits = false;
    }

    pub fn fail_after_rows(&self, rows: usize, kind: ErrorKind) {
        self.outside().fail = Some((rows, kind));
    }

    /// The job keeps the rows that it has seen, from now on.
    pub fn keep_rows_by_key(&self) {
        self.outside().keyed = true;
    }

    /// The source fails at its next row; `before` is done while the job does not know yet.
    pub fn fail_after(&self, before: impl FnOnce() + Send + 'static) {
        let mut outside = self.outside();
        outside.before_failure = Some(Box::new(before));
        outside.fail = Some((0, ErrorKind::External));
    }

    /// All checkpoints' folders.
    pub fn checkpoint_folders(&self) -> Vec<PathBuf> {
        folders_of(&self.job_folder())
    }

    pub fn die_before_commits(&self) {
        self.outside().die_before_commits = true;
    }

    pub fn live_through_commits(&self) {
        self.outside().die_before_commits = false;
    }

    /// The job is the union of two sources from now on; the second has so many rows.
    pub fn add_source_that_ends_after(&self, rows: i64) {
        self.outside().second = Some(rows);
    }

    /// How many rows of the second source are visible.
    pub fn visible_of_second(&self) -> i64 {
        let outside = self.outside();
        outside
            .visible
            .iter()
            .filter(|(split, _)| *split == SECOND)
            .count() as i64
    }

    pub fn opened(&self) -> BTreeSet<u64> {
        self.outside().opened.clone()
    }

    pub fn repeated_commits(&self) -> usize {
        self.outside().repeated
    }

    pub fn told_committed(&self) -> usize {
        self.outside().told_committed
    }

    /// How many rows are visible.
    pub fn count(&self) -> usize {
        self.outside().visible.len()
    }

    pub fn visible(&self) -> Vec<(i64, i64)> {
        self.outside().visible.clone()
    }

    pub fn read(&self) -> usize {
        self.outside().read
    }

    pub fn open_transactions(&self) -> usize {
        let outside = self.outside();
        outside
            .transactions
            .values()
            .filter(|t| t.state == TransactionState::Open && !t.rows.is_empty())
            .count()
    }

    pub fn head(&self) -> Head {
        JobStore::new(Arc::new(LocalStore::new(self.folder.path())), NAME)
            .head()
            .unwrap()
            .unwrap()
    }

    pub fn checkpoint_path(&self, id: CheckpointId) -> String {
        let head = self.head();
        let checkpoint = head
            .completed
            .iter()
            .find(|c| c.id == id)
            .expect("it is retained");
        self.folder.path().join(&checkpoint.folder).display().to_string()
    }

    /// The rows of `splits` splits, as visible rows are compared: sorted.
    pub fn expected(&self, rows: i64) -> Vec<(i64, i64)> {
        let splits = self.outside().splits;
        (0..splits).flat_map(|s| (0..rows).map(move |n| (s, n))).collect()
    }

    fn job_folder(&self) -> PathBuf {
        let id = JobStore::new(Arc::new(LocalStore::new(self.folder.path())), NAME).job_id();
        self.folder.path().join(id.to_string())
    }

    /// From now on jobs have a new checkpoint folder; the one before, which goes with the value.
    pub fn move_checkpoints(&mut self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        self.outside().job = Some(JobStore::new(Arc::new(LocalStore::new(folder.path())), NAME));
        std::mem::replace(&mut self.folder, folder)
    }

    pub fn remove_newest_head(&self) {
        let heads = std::fs::read_dir(self.job_folder().join("head"))
            .unwrap()
            .flatten();
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
        let newest = heads.map(|entry| entry.path()).max_by_key(number).unwrap();
        std::fs::remove_file(newest).unwrap();
    }

    /// Puts a file where the job's folder is: every write into it fails.
    pub fn refuse_checkpoints(&self) {
        let folder = self.job_folder();
        std::fs::rename(&folder, folder.with_extension("away")).unwrap();
        std::fs::write(&folder, b"").unwrap();
    }

    pub fn accept_checkpoints(&self) {
        let folder = self.job_folder();
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(folder.with_extension("away"), &folder).unwrap();
    }

    pub fn assert_no_gap_and_no_repetition(&self) {
        let visible = self.visible();
        let mut next: BTreeMap<i64, i64> = BTreeMap::new();
        for (split, n) in visible {
            let expected = next.entry(split).or_insert(0);
            assert_eq!(n, *expected, "split {split}: each row once and in order");
            *expected += 1;
        }
    }

    /// Every row is there; rows repeat only as one rewind, from where it went back to.
    pub fn assert_rewound_once(&self) {
        let rows: Vec<i64> = self.visible().iter().map(|(_, n)| *n).collect();
        let rewinds: Vec<usize> = (1..rows.len()).filter(|&i| rows[i] != rows[i - 1] + 1).collect();
        assert_eq!(rows[0], 0);
        assert_eq!(rewinds.len(), 1, "{rewinds:?}");
        assert!(rows[rewinds[0]] < rows[rewinds[0] - 1], "back, not forth");
        assert!(rows[rewinds[0]] > 0, "to the checkpoint, not to the beginning");
    }

    pub fn submit(&self, start: Start, settings: &[(&str, &str)]) -> JobHandle {
        self.try_submit(start, settings, true).unwrap()
    }

    /// Of a job in this world.
    pub fn config(&self, settings: &[(&str, &str)], checkpoints: bool) -> Configuration {
        let mut config = Configuration::default();
        if checkpoints {
            config.set("execution.checkpointing.interval", "5 ms");
            config.set(
                "execution.checkpointing.dir",
                self.folder.path().display().to_string(),
            );
        }
        for (key, value) in settings {
            config.set(*key, *value);
        }
        if settings.iter().any(|(key, _)| *key == "parallelism.default") {
            self.outside().splits = SPLITS;
        }
        config
    }

    pub fn try_submit(
        &self,
        start: Start,
        settings: &[(&str, &str)],
        checkpoints: bool,
    ) -> Result<JobHandle> {
        let config = self.config(settings, checkpoints);
        let registry = self.registry();
        let spec = self.spec(start, config.clone());
        let runtime = self.runtime.handle().clone();
        match env!("CARGO_CRATE_NAME") {
            "distributed" => submit_to(spec, runtime, self.cluster(&registry, config)),
            _ => submit(spec, runtime),
        }
    }

    /// The connector to this world.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.add_connector(Arc::new(Model(self.outside.clone())));
        registry
    }

    /// The job, with a checkpoint every few milliseconds where `config` does not say otherwise.
    pub fn spec(&self, start: Start, config: Configuration) -> JobSpec {
        let (second, keyed) = {
            let outside = self.outside();
            (outside.second.is_some(), outside.keyed)
        };
        JobSpec {
            id: JobId::from_name(NAME),
            discard: Discard::default(),
            name: NAME.into(),
            graph: graph(second, keyed),
            config,
            registry: self.registry(),
            start,
        }
    }

    /// A JobManager with two TaskManagers, one with a slot, the other with the rest.
    /// Folders and memory are a TaskManager's own: they have the job's.
    fn cluster(&self, registry: &Registry, mut config: Configuration) -> SlotSource {
        let runtime = self.runtime.handle();
        config = on_this_machine(config);
        let mut job_manager = JobManager::listen(&config, registry.clone(), runtime).unwrap();
        job_manager.start("", Arc::new(Session)).unwrap();
        let Role::Leader(dispatcher) = job_manager.role().borrow().clone() else {
            panic!("it leads");
        };
        config.set("jobmanager.rpc.port", job_manager.address.port().to_string());
        for slots in ["1", "15"] {
            config.set("taskmanager.numberOfTaskSlots", slots);
            // The same when it starts again: local copies are found by it.
            config.set("taskmanager.resource-id", format!("with-{slots}"));
            let process = TaskManagerProcess::new(&config, registry.clone(), runtime).unwrap();
            runtime.spawn(async move { process.run().await });
        }
        // It leads as long as it is there.
        self.job_managers
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .push(job_manager);
        SlotSource::Shared(dispatcher.resources().clone())
    }
}

/// With a JobManager and TaskManagers on the loopback interface.
pub fn on_this_machine(mut config: Configuration) -> Configuration {
    for (key, value) in [
        ("jobmanager.rpc.port", "0"),
        ("jobmanager.rpc.address", "127.0.0.1"),
        ("taskmanager.host", "127.0.0.1"),
        ("heartbeat.interval", "200 ms"),
        ("heartbeat.timeout", "10 s"),
    ] {
        config.set(key, value);
    }
    config
}

/// Folders of checkpoints below a job's folder.
pub fn folders_of(job: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(job).unwrap().flatten();
    let folders = entries.map(|entry| entry.path());
    let is_checkpoint = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("chk-"))
    };
    folders.filter(is_checkpoint).collect()
}

fn graph(second: bool, keyed: bool) -> Graph {
    let table = |name: &str| TableSpec {
        name: name.into(),
        options: [("connector".to_owned(), "model".to_owned())].into(),
        columns: ["split", "n"]
            .map(|c| Field::new(c, DataType::not_null(TypeKind::BigInt)))
            .to_vec(),
        metadata: vec![],
        primary_key: vec![],
        partition_keys: vec![],
    };
    let mut graph = Graph::default();
    let source = |graph: &mut Graph, name: &str, uid: &str| {
        let source = SourceSpec {
            table: table(name),
            projection: vec![0, 1],
            metadata: vec![],
        };
        let rows = source.output();
        let operator = Operator::Source(source);
        let id = graph.add(
            uid.into(),
            format!("Source: {name}"),
            operator,
            vec![],
            rows.clone(),
        );
        let edge = Edge {
            from: id,
            partitioning: Partitioning::Forward,
        };
        (edge, rows)
    };
    let (mut edge, rows) = source(&mut graph, "t", "source");
    if second {
        let (other, _) = source(&mut graph, SECOND_TABLE, "second-source");
        let inputs = vec![edge, other];
        let id = graph.add(
            "union".into(),
            "Union".into(),
            Operator::Union,
            inputs,
            rows.clone(),
        );
        edge = Edge {
            from: id,
            partitioning: Partitioning::Forward,
        };
    }
    if keyed {
        let keys = vec![0, 1];
        edge.partitioning = Partitioning::Hash { keys: keys.clone() };
        let plan = GroupAggregate {
            keys,
            calls: vec![],
            retracts: false,
            mini_batch: None,
        };
        let (operator, name) = (Operator::GroupAggregate(plan), "GroupAggregate".to_owned());
        let id = graph.add("groups".into(), name, operator, vec![edge], rows.clone());
        edge = Edge {
            from: id,
            partitioning: Partitioning::Forward,
        };
    }
    let sink = SinkSpec {
        table: table("t"),
        metadata: vec![],
    };
    graph.add(
        "sink".into(),
        "Sink: t".into(),
        Operator::Sink(sink),
        vec![edge],
        rows,
    );
    graph
}

struct Model(Arc<Mutex<Outside>>);

impl Connector for Model {
    fn identifier(&self) -> &'static str {
        "model"
    }
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }
    fn source(&self) -> Option<&dyn SourceFactory> {
        Some(self)
    }
    fn sink(&self) -> Option<&dyn SinkFactory> {
        Some(self)
    }
}

impl SourceFactory for Model {
    fn metadata(&self, _: &TableSpec) -> Result<Vec<Field>> {
        Ok(vec![])
    }
    fn validate(&self, _: &TableSpec) -> Result<SourceTraits> {
        Ok(SourceTraits {
            idle_timeout: None,
            bounded: false,
            parallelism: None,
            changelog: SourceChangelog::Inserts,
        })
    }
    fn check(&self, _: &SourceSpec) -> Result<()> {
        Ok(())
    }
    fn open(&self, spec: &SourceSpec, context: SourceContext) -> Result<Box<dyn SourceReader>> {
        let is_second = spec.table.name == SECOND_TABLE;
        let splits = match is_second {
            true => SECOND..SECOND + 1,
            false => 0..self.0.lock().unwrap().splits,
        };
        let own = splits.filter(|s| *s as usize % context.parallelism == context.subtask);
        let restored: BTreeMap<i64, i64> = context
            .restored
            .unwrap_or_default()
            .iter()
            .map(|e| {
                (
                    i64::from_le_bytes(e[..8].try_into().unwrap()),
                    i64::from_le_bytes(e[8..].try_into().unwrap()),
                )
            })
            .collect();
        let positions = own.map(|s| (s, restored.get(&s).copied().unwrap_or(0))).collect();
        Ok(Box::new(Reader {
            outside: self.0.clone(),
            is_second,
            positions,
            turn: 0,
            schema: spec.output().to_arrow(),
        }))
    }
}

struct Reader {
    outside: Arc<Mutex<Outside>>,
    is_second: bool,
    positions: Vec<(i64, i64)>,
    turn: usize,
    schema: arrow::datatypes::SchemaRef,
}

const ROWS: i64 = 50;

impl SourceReader for Reader {
    fn poll(&mut self) -> Result<SourcePoll> {
        let mut outside = self.outside.lock().unwrap();
        if let Some((rows, kind)) = outside.fail
            && outside.read >= rows
        {
            outside.fail = None;
            if let Some(before) = outside.before_failure.take() {
                before();
            }
            return Err(Error::new(kind, "a failure on purpose"));
        }
        let end = match self.is_second {
            true => outside.second,
            false => outside.end,
        };
        let end = end.unwrap_or(i64::MAX);
        for _ in 0..self.positions.len() {
            self.turn = (self.turn + 1) % self.positions.len();
            let (split, position) = &mut self.positions[self.turn];
            let count = ROWS.min(end - *position);
            if count > 0 {
                let from = *position;
                *position += count;
                outside.read += count as usize;
                let splits: ArrayRef = Arc::new(Int64Array::from(vec![*split; count as usize]));
                let numbers: ArrayRef = Arc::new((from..from + count).collect::<Int64Array>());
                let rows = RecordBatch::try_new(self.schema.clone(), vec![splits, numbers]).unwrap();
                let batch = ChangeBatch::inserts(rows);
                return Ok(SourcePoll::Batch(SourceBatch {
                    batch,
                    splits: vec![(*split as u32, count as usize)],
                }));
            }
        }
        Ok(SourcePoll::End)
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Vec<u8>>> {
        Ok(self
            .positions
            .iter()
            .map(|(s, n)| [s.to_le_bytes(), n.to_le_bytes()].concat())
            .collect())
    }

    fn checkpoint_complete(&mut self, _: CheckpointId) -> Result<()> {
        Ok(())
    }

    fn pending_records(&self) -> Option<u64> {
        None
    }
}

impl SinkFactory for Model {
    fn metadata(&self, _: &TableSpec) -> Result<Vec<Field>> {
        Ok(vec![])
    }
    fn validate(&self, _: &TableSpec) -> Result<SinkTraits> {
        Ok(SinkTraits {
            needs_checkpoints: true,
            parallelism: None,
            changelog: SinkChangelog::Inserts,
        })
    }
    fn check(&self, _: &SinkSpec) -> Result<()> {
        Ok(())
    }
    fn attempt_record(&self, _: &SinkSpec, attempt: u64, _: usize) -> Result<Vec<u8>> {
        Ok(attempt.to_le_bytes().to_vec())
    }

    fn recover(&self, _: &SinkSpec, context: RecoverContext) -> Result<Recovered> {
        let mut outside = self.0.lock().unwrap();
        let ids = |states: &[Vec<u8>]| -> BTreeSet<u64> {
            states
                .iter()
                .flat_map(|s| s.chunks(8))
                .map(|c| u64::from_le_bytes(c.try_into().unwrap()))
                .collect()
        };
        let restored = ids(&context.restored);
        let pending = context.newest.as_deref().map(ids);
        let mut recovered = Recovered::default();
        outside.told_committed += usize::from(context.committed);
        for id in &restored {
            let state = outside.transactions.get(id).map(|t| t.state);
            if context.committed {
                if state != Some(TransactionState::Committed) {
                    outside
                        .broken
                        .push(format!("{id} is said to be committed and is {state:?}"));
                }
            } else if pending.as_ref().is_none_or(|p| p.contains(id)) {
                outside.commit(*id)?;
                match state {
                    Some(TransactionState::Committed) => {
                        outside.repeated += 1;
                        recovered.repeated += 1;
                    }
                    _ => recovered.committed += 1,
                }
            }
        }
        let earlier: Vec<u64> = context
            .earlier_attempts
            .iter()
            .map(|r| u64::from_le_bytes(r[..].try_into().unwrap()))
            .collect();
        for transaction in outside.transactions.values_mut() {
            if transaction.state == TransactionState::Open && earlier.contains(&transaction.attempt) {
                transaction.state = TransactionState::Aborted;
                recovered.fenced += 1;
            }
        }
        Ok(recovered)
    }

    fn open(&self, _: &SinkSpec, context: SinkContext) -> Result<Box<dyn SinkWriter>> {
        let mut outside = self.0.lock().unwrap();
        outside.opened.insert(context.attempt);
        // The rule: what this attempt may leave behind is on record before it can leave anything.
        if let Some(job) = &outside.job
            && let Ok(Some(head)) = job.head()
        {
            let is_recorded = head
                .attempts
                .iter()
                .any(|a| a.epoch == context.attempt && a.sinks.contains_key(&context.uid));
            if !is_recorded && head.epoch == context.attempt {
                let message = format!("attempt {} is not on record: {head:?}", context.attempt);
                outside.broken.push(message);
            }
        }
        drop(outside);
        Ok(Box::new(Writer {
            outside: self.0.clone(),
            attempt: context.attempt,
            current: None,
            prepared: vec![],
            begun: None,
        }))
    }
}

struct Writer {
    outside: Arc<Mutex<Outside>>,
    attempt: u64,
    current: Option<u64>,
    prepared: Vec<(CheckpointId, u64)>,
    begun: Option<CheckpointId>,
}

impl SinkWriter for Writer {
    fn poll_ready(&mut self) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }

    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        let mut outside = self.outside.lock().unwrap();
        let id = *self.current.get_or_insert_with(|| {
            outside.next_transaction += 1;
            outside.next_transaction
        });
        let transaction = outside.transactions.entry(id).or_default();
        transaction.attempt = self.attempt;
        let column = |i: usize| batch.rows.column(i).as_primitive::<Int64Type>().values().clone();
        transaction
            .rows
            .extend(column(0).iter().copied().zip(column(1).iter().copied()));
        match transaction.state {
            TransactionState::Open => Ok(()),
            state => Err(Error::fenced(format!("the transaction is {state:?}"))),
        }
    }

    fn begin_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.prepared
            .extend(self.current.take().map(|id| (checkpoint, id)));
        self.begun = Some(checkpoint);
        Ok(())
    }

    fn poll_checkpoint(&mut self) -> Result<Poll<Vec<u8>>> {
        Ok(Poll::Ready(
            self.prepared
                .iter()
                .flat_map(|(_, id)| id.to_le_bytes())
                .collect(),
        ))
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        let mut outside = self.outside.lock().unwrap();
        if outside.die_before_commits {
            return Err(Error::external("a death on purpose"));
        }
        // A folder that was made to refuse everything, or is being moved away for it, tells nothing.
        if let Some(job) = &outside.job
            && let Ok(Some(head)) = job.head()
        {
            // The rule: nobody commits what the head does not say is complete.
            let complete = matches!(head.resume, Resume::Checkpoint(id) if id >= checkpoint);
            assert!(
                complete || head.epoch > self.attempt,
                "commit of {checkpoint} before the head swap: {head:?}"
            );
        }
        for (_, id) in self.prepared.extract_if(.., |(of, _)| *of <= checkpoint) {
            outside.commit(id)?;
        }
        Ok(())
    }

    fn poll_commits(&mut self) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }
}
