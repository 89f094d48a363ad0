//! Operations that are triggered by one request and asked for by others.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use millrace_core::{JobId, Result};
use tokio::runtime::Handle;

/// What an operation is found by: the job that it is of, if it is of one, and the id that it was triggered with.
pub type Key = (Option<JobId>, String);

/// Operations with results of one kind; a result is kept for a time after the end. Cheap to clone.
pub struct Operations<T> {
    entries: Arc<Mutex<HashMap<Key, Entry<T>>>>,
    keep: Duration,
    runtime: Handle,
}

impl<T> Clone for Operations<T> {
    fn clone(&self) -> Self {
        Operations {
            entries: self.entries.clone(),
            keep: self.keep,
            runtime: self.runtime.clone(),
        }
    }
}

enum Entry<T> {
    InProgress,
    Ended { result: Arc<Result<T>>, at: Instant },
}

/// What is known of an operation.
pub enum Progress<T> {
    InProgress,
    Ended(Arc<Result<T>>),
}

impl<T: Send + Sync + 'static> Operations<T> {
    pub fn new(keep: Duration, runtime: Handle) -> Self {
        Operations {
            entries: Arc::default(),
            keep,
            runtime,
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry<T>>> {
        self.entries.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Begins an operation, unless the key is that of one that is known.
    pub fn begin<F>(&self, key: Key, operation: impl FnOnce() -> F)
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut entries = self.entries();
        self.forget_old(&mut entries);
        if entries.contains_key(&key) {
            return;
        }
        entries.insert(key.clone(), Entry::InProgress);
        drop(entries);
        let (operation, all) = (operation(), self.clone());
        self.runtime.spawn(async move {
            let result = Arc::new(operation.await);
            let at = Instant::now();
            all.entries().insert(key, Entry::Ended { result, at });
        });
    }

    /// None: there is none, or its result is kept no longer.
    pub fn progress(&self, key: &Key) -> Option<Progress<T>> {
        let mut entries = self.entries();
        self.forget_old(&mut entries);
        match entries.get(key)? {
            Entry::InProgress => Some(Progress::InProgress),
            Entry::Ended { result, .. } => Some(Progress::Ended(result.clone())),
        }
    }

    fn forget_old(&self, entries: &mut HashMap<Key, Entry<T>>) {
        entries.retain(|_, entry| match entry {
            Entry::InProgress => true,
            Entry::Ended { at, .. } => at.elapsed() <= self.keep,
        });
    }
}

#[cfg(test)]
mod tests {
    use millrace_core::Error;
    use tokio::sync::oneshot;

    use super::*;

    fn key(id: &str) -> Key {
        (None, id.to_owned())
    }

    async fn ended<T: Send + Sync + 'static>(operations: &Operations<T>, key: &Key) -> Arc<Result<T>> {
        loop {
            match operations.progress(key) {
                Some(Progress::Ended(result)) => return result,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn a_repeated_trigger_is_the_same_operation() {
        let operations = Operations::new(Duration::from_secs(3600), Handle::current());
        let (finish, finished) = oneshot::channel();
        operations.begin(key("a"), || async move { Ok(finished.await.unwrap_or(0)) });
        operations.begin(key("a"), || async { panic!("begun twice") });
        assert!(matches!(
            operations.progress(&key("a")),
            Some(Progress::InProgress)
        ));
        finish.send(7).unwrap();
        assert_eq!(*ended(&operations, &key("a")).await.as_ref().as_ref().unwrap(), 7);
        operations.begin(key("a"), || async { Err(Error::internal("begun twice")) });
        assert!(ended(&operations, &key("a")).await.is_ok());
        assert!(operations.progress(&key("b")).is_none());
    }

    #[tokio::test]
    async fn results_are_kept_for_a_time() {
        let operations = Operations::new(Duration::ZERO, Handle::current());
        operations.begin(key("a"), || async { Ok(1) });
        while operations.progress(&key("a")).is_some() {
            tokio::task::yield_now().await;
        }
        operations.begin(key("a"), || async { Ok(2) });
        assert!(operations.progress(&key("a")).is_some());
    }
}
