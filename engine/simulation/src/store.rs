//! A model of an object store: what is sent to it arrives later, what it answers later still, and between the two a
//! caller may be gone, the answer lost, or the request sent twice.
//!
//! It stands where the client of S3 does, so what the engine makes of its answers is the engine's own code
//! (`millrace_state::object`). Conditional writes are atomic, and what is written is listed at once, as in S3.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::kernel::{self, Host, MILLISECOND, Process, Time};

/// How often a request that cannot get through is tried again.
const AGAIN: Time = 100 * MILLISECOND;
/// How often an answer is looked for that is late.
const LOOK: Duration = Duration::from_millis(20);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Put,
    Get,
    Delete,
    List,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    /// It is not done, and the caller is told that it failed.
    pub is_refused: bool,
    /// The caller is told that it failed, though it was done.
    pub is_answer_lost: bool,
    /// It is done twice; the second answer is what the caller gets.
    pub is_repeated: bool,
    /// On its way, there and back.
    pub there: Duration,
    pub back: Duration,
}

/// Told of each request when it is sent, and says what becomes of it.
pub type Judge = Arc<dyn Fn(Kind, &str) -> Fate + Send + Sync>;

/// Told of what was done, with its path, and whether it changed anything.
pub type Witness = Arc<dyn Fn(Kind, &str, bool) + Send + Sync>;

enum Ask {
    Put(PutPayload, Box<PutOptions>),
    Get(Box<GetOptions>),
    Delete,
    List,
}

enum Answer {
    Put(PutResult),
    Get(Box<GetResult>),
    Deleted,
    Listed(Vec<ObjectMeta>),
}

type Slot = Arc<Mutex<Option<Result<Answer>>>>;

struct Request {
    due: Time,
    from: Option<Host>,
    path: Path,
    ask: Ask,
    fate: Fate,
    slot: Slot,
}

struct Inner {
    objects: InMemory,
    queue: Mutex<Vec<Request>>,
    asked: Condvar,
    judge: Judge,
    witness: Witness,
    host: Host,
}

/// Cheap to clone; every process has one.
#[derive(Clone)]
pub struct ModelStore(Arc<Inner>);

impl fmt::Debug for ModelStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelStore")
    }
}

impl fmt::Display for ModelStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelStore")
    }
}

fn failed(why: &'static str) -> Error {
    Error::Generic {
        store: "model",
        source: why.into(),
    }
}

impl ModelStore {
    pub fn new(host: Host, judge: Judge, witness: Witness) -> ModelStore {
        ModelStore(Arc::new(Inner {
            objects: InMemory::new(),
            queue: Mutex::default(),
            asked: Condvar::new(),
            judge,
            witness,
            host,
        }))
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Request>> {
        self.0.queue.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// All that is there, for whoever looks on.
    pub fn paths(&self) -> Vec<String> {
        let listed = self.0.objects.list(None).map_ok(|meta| meta.location.to_string());
        let listed = listed.try_collect::<Vec<_>>().now_or_never();
        let mut paths = listed.and_then(Result::ok).unwrap_or_default();
        paths.sort();
        paths
    }

    /// Does what arrives, as its process's thread.
    pub fn serve(&self) {
        loop {
            let now = kernel::now();
            let due = kernel::steadily(|| {
                let mut queue = self.queue();
                let next = queue.iter().enumerate().min_by_key(|(_, request)| request.due);
                match next.map(|(index, request)| (index, request.due)) {
                    None => Err(None),
                    Some((_, due)) if due > now => Err(Some(due)),
                    // Of those that are due, the one that was sent first.
                    Some((index, _)) => Ok(queue.remove(index)),
                }
            });
            match due {
                Ok(request) => self.take(request),
                Err(until) => {
                    let queue = self.queue();
                    let changed = |queue: &mut Vec<Request>| {
                        let earliest = queue.iter().map(|request| request.due).min();
                        earliest == until && until.is_none_or(|until| kernel::now() < until)
                    };
                    let wait = until.map_or(Duration::from_secs(3600), |until| {
                        Duration::from_nanos(until.saturating_sub(kernel::now()))
                    });
                    drop(self.0.asked.wait_timeout_while(queue, wait, changed));
                }
            }
        }
    }

    fn take(&self, request: Request) {
        if let Some(from) = request.from
            && !from.reaches(self.0.host)
        {
            let due = kernel::now() + AGAIN;
            kernel::steadily(|| self.queue().push(Request { due, ..request }));
            return;
        }
        let Fate {
            is_refused,
            is_answer_lost,
            is_repeated,
            ..
        } = request.fate;
        let outcome = match is_refused {
            true => Err(failed("the store is out of order")),
            false => {
                let mut outcome = self.perform(&request);
                if is_repeated {
                    outcome = self.perform(&request);
                }
                match is_answer_lost {
                    true => Err(failed("the answer was lost")),
                    false => outcome,
                }
            }
        };
        kernel::steadily(|| *request.slot.lock().unwrap_or_else(|e| e.into_inner()) = Some(outcome));
    }

    fn perform(&self, request: &Request) -> Result<Answer> {
        let path = &request.path;
        let (kind, outcome) = match &request.ask {
            Ask::Put(payload, options) => {
                let put = self
                    .0
                    .objects
                    .put_opts(path, payload.clone(), (**options).clone());
                (Kind::Put, put.now_or_never().map(|put| put.map(Answer::Put)))
            }
            Ask::Get(options) => {
                let get = self.0.objects.get_opts(path, (**options).clone());
                (
                    Kind::Get,
                    get.now_or_never()
                        .map(|got| got.map(|got| Answer::Get(Box::new(got)))),
                )
            }
            Ask::Delete => {
                let deleted = self.0.objects.delete(path).now_or_never();
                (
                    Kind::Delete,
                    deleted.map(|deleted| deleted.map(|()| Answer::Deleted)),
                )
            }
            Ask::List => {
                let listed = self.0.objects.list(Some(path)).try_collect().now_or_never();
                (Kind::List, listed.map(|listed| listed.map(Answer::Listed)))
            }
        };
        let outcome = outcome.unwrap_or_else(|| Err(failed("what is in memory takes no time")));
        (self.0.witness)(kind, path.as_ref(), outcome.is_ok());
        outcome
    }

    async fn ask(&self, kind: Kind, path: &Path, ask: Ask) -> Result<Answer> {
        let fate = (self.0.judge)(kind, path.as_ref());
        let slot = Slot::default();
        kernel::steadily(|| {
            let request = Request {
                due: kernel::now() + fate.there.as_nanos() as Time,
                from: Process::current().and_then(Process::host),
                path: path.clone(),
                ask,
                fate,
                slot: slot.clone(),
            };
            self.queue().push(request);
            self.0.asked.notify_all();
        });
        tokio::time::sleep(fate.there + fate.back).await;
        loop {
            let answer = kernel::steadily(|| slot.lock().unwrap_or_else(|e| e.into_inner()).take());
            match answer {
                Some(answer) => return answer,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl ObjectStore for ModelStore {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        path: &'b Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Boxed<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            match self
                .ask(Kind::Put, path, Ask::Put(payload, Box::new(options)))
                .await?
            {
                Answer::Put(result) => Ok(result),
                _ => Err(failed("an answer to another question")),
            }
        })
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        _: &'b Path,
        _: PutMultipartOptions,
    ) -> Boxed<'c, Box<dyn MultipartUpload>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async {
            Err(Error::NotImplemented {
                operation: "an upload in parts".into(),
                implementer: "ModelStore".into(),
            })
        })
    }

    fn get_opts<'a, 'b, 'c>(&'a self, path: &'b Path, options: GetOptions) -> Boxed<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            match self.ask(Kind::Get, path, Ask::Get(Box::new(options))).await? {
                Answer::Get(result) => Ok(*result),
                _ => Err(failed("an answer to another question")),
            }
        })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |path: Result<Path>| {
            let this = this.clone();
            async move {
                let path = path?;
                this.ask(Kind::Delete, &path, Ask::Delete).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = async move {
            match this.ask(Kind::List, &prefix, Ask::List).await? {
                Answer::Listed(found) => Ok(futures::stream::iter(found.into_iter().map(Ok))),
                _ => Err(failed("an answer to another question")),
            }
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, _: Option<&'b Path>) -> Boxed<'c, ListResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async {
            Err(Error::NotImplemented {
                operation: "a list by folders".into(),
                implementer: "ModelStore".into(),
            })
        })
    }

    fn copy_opts<'a, 'b, 'c, 'd>(&'a self, _: &'b Path, _: &'c Path, _: CopyOptions) -> Boxed<'d, ()>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        Box::pin(async {
            Err(Error::NotImplemented {
                operation: "a copy".into(),
                implementer: "ModelStore".into(),
            })
        })
    }
}
