//! What a leader writes with: every change is one transaction with a look at the leader's own node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millrace_core::Result;
use tracing::warn;
use uuid::Uuid;
use zookeeper_client::{CheckWriter, Client, Error as ZkError};

use super::Settings;
use super::session::{connected, error, is_passing};
use crate::leadership::fenced;

/// How often a change is tried again because nodes came or went between the look and the change: only when somebody
/// deletes them by hand at the same time.
const RACES: u32 = 10;

/// A grant of the leadership.
#[derive(Clone)]
pub(crate) struct Tenure {
    pub(super) client: Client,
    pub(super) settings: Arc<Settings>,
    pub(super) session: Uuid,
    /// The leader's own node, and its version since the grant.
    pub(super) latch: String,
    pub(super) version: i32,
}

impl Tenure {
    /// A transaction that changes nothing unless this grant lasts.
    pub(super) fn writer(&self) -> Result<CheckWriter<'_>, ZkError> {
        self.client.new_check_writer(&self.latch, Some(self.version))
    }

    /// Makes a change, again where the connection was lost meanwhile: it must not matter whether it was made already.
    pub(super) async fn change<F>(&self, what: &str, change: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<(), ZkError>>,
    {
        let (mut attempt, mut races) = (0, 0);
        loop {
            let answer = tokio::time::timeout(self.settings.session_timeout, change())
                .await
                .unwrap_or(Err(ZkError::Timeout));
            match answer {
                Ok(()) => return Ok(()),
                // The node is not as it was; or it went with its ZooKeeper session.
                Err(ZkError::RuntimeInconsistent | ZkError::SessionExpired | ZkError::ClientClosed) => {
                    return Err(fenced(self.session));
                }
                Err(ZkError::NoNode | ZkError::NodeExists | ZkError::NotEmpty) if races < RACES => races += 1,
                Err(e) if attempt < self.settings.retry_attempts && is_passing(&e) => {
                    attempt += 1;
                    warn!(error = %e, attempt, "ZooKeeper: {what} is repeated");
                    self.pause().await;
                }
                Err(e) => return Err(error(e, what, &self.settings)),
            }
        }
    }

    async fn pause(&self) {
        let wait = self.settings.retry_wait;
        tokio::time::sleep(wait.min(Duration::from_millis(50))).await;
        let _ = tokio::time::timeout(wait, connected(&self.client)).await;
    }
}

impl std::fmt::Debug for Tenure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tenure({}, version {})", self.latch, self.version)
    }
}

/// A node and all below it, what is below first; nothing when it is not there.
pub(super) async fn tree(client: &Client, path: &str) -> Result<Vec<String>, ZkError> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        match client.list_children(&path).await {
            Ok(names) => {
                open.extend(names.iter().map(|name| format!("{path}/{name}")));
                found.push(path);
            }
            Err(ZkError::NoNode) => {}
            Err(e) => return Err(e),
        }
    }
    found.reverse();
    Ok(found)
}
