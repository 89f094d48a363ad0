//! What a JobManager writes down for the one that leads after it: the jobs of the cluster, each as it was submitted
//! and with its plan, in `high-availability.storageDir`; who leads and where to look, in the HA services.
//!
//! What is in the storage folder counts: an entry in the HA services that somebody has deleted loses no job.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use millrace_connector_api::Registry;
use millrace_core::{CheckpointId, Configuration, Error, ErrorKind, JobId, Result, options};
use millrace_dataflow::Graph;
use millrace_ha::Leadership;
use millrace_state::head::CompletedCheckpoint;
use millrace_state::{Store, StoreError, location};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::dispatcher::JobEntries;
use crate::job::{ClaimMode, Discard, JobSpec, Outcome, Restore, Start};
use crate::pointer::Pointer;

/// The storage folder of a cluster.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn Store>,
    cluster: String,
}

/// A job as it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    id: JobId,
    name: String,
    graph: Graph,
    config: BTreeMap<String, String>,
    /// What it was started from, if the submitter said so.
    restore: Option<WrittenRestore>,
    discard_finished: bool,
    discard_cancelled: bool,
}

#[derive(Serialize, Deserialize)]
struct WrittenRestore {
    path: String,
    allow_non_restored_state: bool,
    claim: bool,
}

/// How a job ended, for whoever leads next not to run it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobResult {
    #[serde(rename = "job-id")]
    pub id: String,
    pub name: String,
    /// Flink's word for how it ended.
    pub state: String,
}

impl Storage {
    /// `high-availability.storageDir`, which high availability needs.
    pub fn open(config: &Configuration, runtime: &Handle) -> Result<Storage> {
        let Some(folder) = config.get_optional(&options::HA_STORAGE_DIRECTORY)? else {
            return Err(Error::user("high-availability.storageDir is not set").with_hint(
                "say where JobManagers write down the jobs that another one is to go on with: a folder that all of them \
                 reach, such as s3://bucket/ha",
            ));
        };
        let cluster = match config.get_optional(&options::KUBERNETES_CLUSTER_ID)? {
            Some(id) => id,
            None => config.get(&options::HA_CLUSTER_ID)?,
        };
        Ok(Storage {
            store: location::open(&folder, config, runtime)?,
            cluster: cluster.trim_matches('/').replace('/', "-"),
        })
    }

    fn plan(&self, job: JobId) -> String {
        format!("{}/plans/{job}", self.cluster)
    }

    fn result(&self, job: JobId) -> String {
        format!("job-result-store/{}/{job}.json", self.cluster)
    }

    /// Writes a job down; where it stands.
    fn put(&self, spec: &JobSpec) -> Result<String> {
        let written = Written {
            id: spec.id,
            name: spec.name.clone(),
            graph: spec.graph.clone(),
            config: spec
                .config
                .iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            restore: match &spec.start {
                Start::Resume | Start::Fresh => None,
                Start::From(restore) | Start::ResumeOrFrom(restore) => Some(WrittenRestore {
                    path: restore.path.clone(),
                    allow_non_restored_state: restore.allow_non_restored_state,
                    claim: restore.claim == ClaimMode::Claim,
                }),
            },
            discard_finished: spec.discard.finished,
            discard_cancelled: spec.discard.cancelled,
        };
        let bytes = serde_json::to_vec(&written)
            .map_err(|e| Error::internal("a job cannot be written down").with_source(e))?;
        let path = self.plan(spec.id);
        let failed = |e: StoreError| e.into_error("writing a job down for other JobManagers");
        // What is left of an earlier job of this id is not this one.
        self.store.delete(&path).map_err(failed)?;
        self.store.create(&path, &bytes).map_err(failed)?;
        Ok(format!("{}/{path}", self.store.describe()))
    }

    /// All jobs that are to go on.
    pub fn jobs(&self, registry: &Registry) -> Result<Vec<JobSpec>> {
        let folder = format!("{}/plans", self.cluster);
        let failed = |e: StoreError| e.into_error("reading the jobs of the JobManager before");
        let mut specs = Vec::new();
        for path in self.store.list(&folder).map_err(failed)? {
            // One that ends at this moment is not to go on.
            let Some(bytes) = self.store.get(&path).map_err(failed)? else {
                continue;
            };
            let place = format!("{}/{path}", self.store.describe());
            specs.push(read(&bytes, &place, registry)?);
        }
        Ok(specs)
    }

    fn remove(&self, job: JobId) -> Result<()> {
        let failed =
            |e: StoreError| e.into_error("deleting a job that is written down for other JobManagers");
        self.store.delete(&self.plan(job)).map_err(failed)
    }

    /// How a job ended, if it has.
    pub fn ended(&self, job: JobId) -> Result<Option<JobResult>> {
        let read = self.store.get(&self.result(job));
        let Some(bytes) = read.map_err(|e| e.into_error("reading how a job ended"))? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::external("what says how a job ended cannot be read").with_source(e))
    }

    /// Writes down how a job ended.
    pub fn put_ended(&self, result: &JobResult, job: JobId) -> Result<()> {
        let bytes = serde_json::to_vec(result)
            .map_err(|e| Error::internal("a job's end cannot be written down").with_source(e))?;
        match self.store.create(&self.result(job), &bytes) {
            Ok(()) | Err(StoreError::Exists) => Ok(()),
            Err(e) => Err(e.into_error("writing down how a job ended")),
        }
    }

    /// The application is over, and everybody knows.
    pub fn forget_ended(&self, job: JobId) -> Result<()> {
        let deleted = self.store.delete(&self.result(job));
        deleted.map_err(|e| e.into_error("deleting what says how a job ended"))
    }
}

fn read(bytes: &[u8], place: &str, registry: &Registry) -> Result<JobSpec> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    json.disable_recursion_limit();
    let written = Written::deserialize(&mut json).map_err(|e| {
        Error::external("a job that another JobManager has written down cannot be read")
            .with_detail(place)
            .with_source(e)
            .with_hint("run the engine version that wrote it; or delete the file, and submit the job again")
    })?;
    Ok(JobSpec {
        id: written.id,
        name: written.name,
        graph: written.graph,
        config: written.config.into_iter().collect(),
        registry: registry.clone(),
        start: match written.restore {
            None => Start::Resume,
            Some(restore) => Start::ResumeOrFrom(Restore {
                path: restore.path,
                allow_non_restored_state: restore.allow_non_restored_state,
                claim: match restore.claim {
                    true => ClaimMode::Claim,
                    false => ClaimMode::NoClaim,
                },
            }),
        },
        discard: Discard {
            finished: written.discard_finished,
            cancelled: written.discard_cancelled,
        },
    })
}

/// Jobs written down with the right to, as long as that lasts.
pub struct Entries {
    pub storage: Storage,
    pub leadership: Leadership,
    pub runtime: Handle,
    /// Pointers that are kept of a job.
    pub retained: usize,
    /// How jobs ended is kept until the application is over.
    pub keeps_results: bool,
    pointers: Mutex<BTreeMap<JobId, Arc<Newest>>>,
}

impl Entries {
    pub fn new(
        storage: Storage,
        leadership: Leadership,
        runtime: Handle,
        retained: usize,
        keeps_results: bool,
    ) -> Self {
        Entries {
            storage,
            leadership,
            runtime,
            retained,
            keeps_results,
            pointers: Mutex::default(),
        }
    }
}

impl JobEntries for Entries {
    fn put(&self, spec: &JobSpec) -> Result<()> {
        let place = self.storage.put(spec)?;
        self.runtime
            .block_on(self.leadership.put_job(spec.id, place.as_bytes()))
    }

    fn remove(&self, job: JobId) -> Result<()> {
        self.pointers
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .remove(&job);
        // First what is refused to whoever does not lead any more, and must delete nothing.
        self.runtime.block_on(self.leadership.remove_job(job))?;
        self.storage.remove(job)
    }

    fn ended(&self, job: JobId, name: &str, outcome: &Result<Outcome>) -> Result<()> {
        if self.keeps_results {
            let state = match outcome {
                Ok(Outcome::Finished | Outcome::Stopped) => "FINISHED",
                Ok(Outcome::Cancelled) => "CANCELED",
                Ok(Outcome::Suspended) | Err(_) => "FAILED",
            };
            let result = JobResult {
                id: job.to_string(),
                name: name.to_owned(),
                state: state.to_owned(),
            };
            self.storage.put_ended(&result, job)?;
        }
        self.remove(job)
    }

    fn pointer(&self, job: JobId) -> Option<Arc<dyn Pointer>> {
        // A store that does not answer holds no checkpoint up: the newest pointer is written when it does.
        let (sender, mut newest) = watch::channel(None::<(CheckpointId, String)>);
        let leadership = self.leadership.clone();
        let retained = self.retained;
        self.runtime.spawn(async move {
            while newest.changed().await.is_ok() {
                let Some((id, folder)) = newest.borrow_and_update().clone() else {
                    continue;
                };
                let written = leadership.put_checkpoint(job, id, folder.as_bytes(), retained).await;
                match written {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::Fenced => return,
                    Err(error) => tracing::warn!(%job, checkpoint = %id, %error, "the pointer to a checkpoint could not be written"),
                }
            }
        });
        let pointer = Arc::new(Newest(sender));
        self.pointers
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .insert(job, pointer.clone());
        Some(pointer)
    }
}

struct Newest(watch::Sender<Option<(CheckpointId, String)>>);

impl Pointer for Newest {
    fn completed(&self, checkpoint: &CompletedCheckpoint, folder: &str) {
        self.0.send_replace(Some((checkpoint.id, folder.to_owned())));
    }
}
