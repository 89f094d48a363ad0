//! A checkpoint folder in an object store (S3 and what speaks its protocol).
//!
//! The head is one object that is swapped by a conditional put: If-None-Match for the first,
//! If-Match with the ETag that was read for every later one.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use millrace_core::Error;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use tokio::runtime::Handle;

use crate::metadata::FileRef;
use crate::store::{HeadVersion, Result, Store, StoreError};

/// No call may hang: what takes longer counts as failed, with its effect unknown.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

pub struct ObjectFolder {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    description: String,
    runtime: Handle,
    uploads: Uploads,
}

/// Bytes of files that are read to be uploaded: their memory is nobody's budget, so it is kept small.
#[derive(Default)]
struct Uploads {
    bytes: Mutex<u64>,
    fewer: Condvar,
}

/// What all uploads at once hold in memory, if no single file is larger.
const MOST_UPLOADING: u64 = 64 << 20;

impl Uploads {
    /// Waits until there is room for so many bytes, and holds them.
    fn hold(&self, bytes: u64) -> Held<'_> {
        let held = self.bytes.lock().unwrap_or_else(|e| e.into_inner());
        let is_full = |held: &mut u64| *held > 0 && *held + bytes > MOST_UPLOADING;
        let held = self.fewer.wait_while(held, is_full);
        *held.unwrap_or_else(|e| e.into_inner()) += bytes;
        Held { all: self, bytes }
    }
}

struct Held<'a> {
    all: &'a Uploads,
    bytes: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.all.bytes.lock().unwrap_or_else(|e| e.into_inner()) -= self.bytes;
        self.all.fewer.notify_all();
    }
}

impl ObjectFolder {
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, description: String, runtime: Handle) -> Self {
        ObjectFolder {
            store,
            prefix,
            description,
            runtime,
            uploads: Uploads::default(),
        }
    }

    fn put_new(&self, path: &str, bytes: &Bytes) -> Result<()> {
        let path = self.path(path);
        let options = PutOptions::from(PutMode::Create);
        let put = self.store.put_opts(&path, bytes.clone().into(), options);
        match self.call("writing to the object store", &path, put) {
            Ok(_) => Ok(()),
            Err(StoreError::Exists | StoreError::Conflict) => match self.is_there(&path, bytes)? {
                true => Ok(()),
                false => Err(StoreError::Exists),
            },
            Err(e) => Err(e),
        }
    }

    fn path(&self, path: &str) -> Path {
        path.split('/')
            .filter(|p| !p.is_empty())
            .fold(self.prefix.clone(), |full, part| full.join(part))
    }

    fn call<T>(
        &self,
        what: &str,
        path: &Path,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        let outcome = self
            .runtime
            .block_on(async { tokio::time::timeout(CALL_TIMEOUT, call).await });
        let error = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(object_store::Error::AlreadyExists { .. })) => return Err(StoreError::Exists),
            Ok(Err(object_store::Error::Precondition { .. })) => return Err(StoreError::Conflict),
            Ok(Err(e)) => Error::external(format!("{what} failed")).with_source(e),
            Err(_) => Error::external(format!("{what} took longer than {} s", CALL_TIMEOUT.as_secs())),
        };
        Err(StoreError::Failed(
            error
                .with_detail(format!("{}: {path}", self.description))
                .with_hint("check s3.endpoint, s3.access-key, s3.secret-key and that the bucket is there"),
        ))
    }

    /// What is there under a name, where a conditional write says that something is: a write whose
    /// answer was lost is repeated by the client and then meets itself.
    fn is_there(&self, path: &Path, bytes: &[u8]) -> Result<bool> {
        Ok(self.read(path)?.is_some_and(|(_, there)| there == bytes))
    }

    fn read(&self, path: &Path) -> Result<Option<(Option<String>, Vec<u8>)>> {
        let read = async {
            match self.store.get(path).await {
                Ok(result) => {
                    let tag = result.meta.e_tag.clone();
                    Ok(Some((tag, result.bytes().await?.to_vec())))
                }
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(e),
            }
        };
        self.call("reading from the object store", path, read)
    }
}

impl Store for ObjectFolder {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put_new(path, &Bytes::copy_from_slice(bytes))
    }

    fn create_from(&self, path: &str, file: &std::path::Path) -> Result<FileRef> {
        let unread = |e: std::io::Error| {
            let error = Error::external("a state file to be uploaded cannot be read");
            StoreError::Failed(error.with_detail(file.display().to_string()).with_source(e))
        };
        let length = file.metadata().map_err(unread)?.len();
        let _held = self.uploads.hold(length);
        let bytes = Bytes::from(std::fs::read(file).map_err(unread)?);
        self.put_new(path, &bytes)?;
        Ok(FileRef::of(path, &bytes))
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.read(&self.path(path))?.map(|(_, bytes)| bytes))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path(folder);
        let listed: Vec<_> = self.call(
            "listing the object store",
            &path,
            self.store
                .list(Some(&path))
                .map_ok(|meta| meta.location)
                .try_collect(),
        )?;
        let skip = if self.prefix.as_ref().is_empty() {
            0
        } else {
            self.prefix.as_ref().len() + 1
        };
        Ok(listed
            .into_iter()
            .map(|location| location.as_ref()[skip..].to_owned())
            .collect())
    }

    fn delete(&self, path: &str) -> Result<()> {
        let path = self.path(path);
        let delete = async {
            match self.store.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        };
        self.call("deleting from the object store", &path, delete)
    }

    fn read_head(&self, folder: &str) -> Result<Option<(HeadVersion, Vec<u8>)>> {
        let path = self.path(&format!("{folder}/head"));
        let Some((tag, bytes)) = self.read(&path)? else {
            return Ok(None);
        };
        let tag = tag.ok_or_else(|| {
            StoreError::Failed(
                Error::external("the object store gives no ETags")
                    .with_detail(self.description.clone())
                    .with_hint("checkpoints need a store with conditional writes"),
            )
        })?;
        Ok(Some((HeadVersion(tag), bytes)))
    }

    fn swap_head(&self, folder: &str, expected: Option<&HeadVersion>, body: &[u8]) -> Result<HeadVersion> {
        let path = self.path(&format!("{folder}/head"));
        let mode = match expected {
            None => PutMode::Create,
            Some(HeadVersion(tag)) => PutMode::Update(UpdateVersion {
                e_tag: Some(tag.clone()),
                version: None,
            }),
        };
        let put = self
            .store
            .put_opts(&path, body.to_vec().into(), PutOptions::from(mode));
        match self.call("swapping the head in the object store", &path, put) {
            Ok(result) => match result.e_tag {
                Some(tag) => Ok(HeadVersion(tag)),
                None => match self.read_head(folder)? {
                    Some((version, there)) if there == body => Ok(version),
                    _ => Err(StoreError::Conflict),
                },
            },
            Err(StoreError::Exists | StoreError::Conflict) => match self.read_head(folder)? {
                Some((version, there)) if there == body => Ok(version),
                _ => Err(StoreError::Conflict),
            },
            Err(e) => Err(e),
        }
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}
