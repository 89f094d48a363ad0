//! One ZooKeeper session after another, and requests that are repeated when a connection was lost.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millrace_core::{Error, Result, options};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{info, warn};
use zookeeper_client::{Client, Error as ZkError, SessionState};

use super::Settings;

/// The present session, if there is one. When it is over there is another one some time later.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) settings: Arc<Settings>,
    current: watch::Receiver<Option<Client>>,
}

/// Keeps a session for as long as there are clones of this.
#[derive(Clone)]
pub(super) struct Sessions {
    feed: Feed,
    _keeper: Arc<Keeper>,
}

struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        // With the task its sender goes, and with the last client the session: ZooKeeper is told so.
        self.0.abort();
    }
}

impl Sessions {
    pub(super) fn start(settings: Arc<Settings>, runtime: &Handle) -> Sessions {
        let (sender, current) = watch::channel(None);
        let task = runtime.spawn(keep(settings.clone(), sender));
        Sessions {
            feed: Feed { settings, current },
            _keeper: Arc::new(Keeper(task.abort_handle())),
        }
    }

    pub(super) fn feed(&self) -> Feed {
        self.feed.clone()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.feed.settings
    }

    /// Asks in the present session, and again when the connection was lost meanwhile. `what` is for the error.
    pub(super) async fn ask<T, F>(&self, what: &str, request: impl Fn(Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, ZkError>>,
    {
        let settings = self.settings();
        let mut attempt = 0;
        loop {
            let answer = async {
                let mut feed = self.feed();
                match feed.session().await {
                    Some(client) => request(client).await,
                    None => Err(ZkError::ClientClosed),
                }
            };
            // A request waits while there is no connection.
            let answer = tokio::time::timeout(settings.session_timeout, answer)
                .await
                .unwrap_or(Err(ZkError::Timeout));
            match answer {
                Ok(answer) => return Ok(answer),
                Err(e) if attempt < settings.retry_attempts && is_passing(&e) => {
                    attempt += 1;
                    warn!(error = %e, attempt, "ZooKeeper: {what} is repeated");
                    self.pause().await;
                }
                Err(e) => return Err(error(e, what, settings)),
            }
        }
    }

    /// Until the connection is back, and not longer than is configured.
    async fn pause(&self) {
        let connected = async {
            let mut feed = self.feed();
            match feed.session().await {
                Some(client) => connected(&client).await,
                None => std::future::pending().await,
            }
        };
        // A lost connection may not have been noticed yet, and then it would not be waited for.
        tokio::time::sleep(self.settings().retry_wait.min(Duration::from_millis(50))).await;
        let _ = tokio::time::timeout(self.settings().retry_wait, connected).await;
    }
}

impl Feed {
    /// Waits for a session. None when there will not be another.
    pub(super) async fn session(&mut self) -> Option<Client> {
        let is_there = |client: &Option<Client>| client.as_ref().is_some_and(|c| !c.state().is_terminated());
        let client = self.current.wait_for(is_there).await.ok()?;
        client.clone()
    }
}

/// Waits until the session is connected or over.
pub(super) async fn connected(client: &Client) {
    let mut states = client.state_watcher();
    let mut state = client.state();
    while state == SessionState::Disconnected {
        state = states.changed().await;
    }
}

/// Waits until the session is over.
pub(super) async fn over(client: &Client) {
    let mut states = client.state_watcher();
    let mut state = client.state();
    while !state.is_terminated() {
        state = states.changed().await;
    }
}

async fn keep(settings: Arc<Settings>, sender: watch::Sender<Option<Client>>) {
    loop {
        match connect(&settings).await {
            Ok(client) => {
                info!(session = %client.session_id(), "ZooKeeper: a session has begun");
                sender.send_replace(Some(client.clone()));
                over(&client).await;
                warn!(session = %client.session_id(), state = %client.state(), "ZooKeeper: the session is over");
                sender.send_replace(None);
            }
            Err(e) => {
                let e = error(e, "connecting", &settings);
                warn!("ZooKeeper: no session:\n{e}");
                // What is refused is asked for again slowly; what could not be reached has been tried for long.
                tokio::time::sleep(settings.retry_wait.min(Duration::from_secs(1))).await;
            }
        }
    }
}

async fn connect(settings: &Settings) -> Result<Client, ZkError> {
    let mut connector = Client::connector()
        .with_session_timeout(settings.session_timeout)
        .with_connection_timeout(settings.connection_timeout);
    for (scheme, authorization) in &settings.logins {
        connector = connector.with_auth(scheme, authorization.as_bytes());
    }
    connector.connect(&settings.quorum).await
}

/// Whether the same request may be answered later, perhaps in another session.
pub(super) fn is_passing(e: &ZkError) -> bool {
    matches!(
        e,
        ZkError::ConnectionLoss
            | ZkError::Timeout
            | ZkError::SessionExpired
            | ZkError::SessionMoved
            | ZkError::ClientClosed
            | ZkError::Throttled
            | ZkError::NotReadOnly
    )
}

/// The error that a person reads.
pub(super) fn error(e: ZkError, what: &str, settings: &Settings) -> Error {
    let detail = format!("{what}: {} {}", settings.quorum, settings.paths.cluster());
    match e {
        ZkError::NoAuth | ZkError::AuthFailed | ZkError::InvalidAcl => {
            Error::user("ZooKeeper refuses the login or the access").with_hint(format!(
                "look at {} and {}",
                options::HA_ZOOKEEPER_AUTHORIZATION.key,
                options::HA_ZOOKEEPER_ACL.key
            ))
        }
        _ => Error::external("a request to ZooKeeper failed").with_hint(format!(
            "are the servers of {} up, and more than half of them?",
            options::HA_ZOOKEEPER_QUORUM.key
        )),
    }
    .with_detail(detail)
    .with_source(e)
}
