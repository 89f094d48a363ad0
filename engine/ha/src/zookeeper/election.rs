//! Contending for the leadership, and holding it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;
use zookeeper_client::{Client, CreateMode, Error as ZkError, OneshotWatcher, SessionState, StateWatcher};

use super::info::encode;
use super::latch::Latch;
use super::paths::COMPONENTS;
use super::session::{Sessions, connected};
use super::tenure::{Tenure, tree};
use super::{Settings, session};
use crate::election::{End, Ending};
use crate::leadership::Store;
use crate::{Addresses, Leadership, Leading};

/// After nodes were deleted or altered by hand.
const PAUSE: Duration = Duration::from_millis(100);

/// A contender's task.
pub(super) async fn contend(
    sessions: Sessions,
    me: Addresses,
    leading: watch::Sender<Leading>,
    mut ending: Ending,
) {
    let mut feed = sessions.feed();
    loop {
        let client = tokio::select! {
            client = feed.session() => client,
            _ = ending.asked() => return,
        };
        let Some(client) = client else { return };
        let contender = Contender {
            client: &client,
            settings: feed.settings.clone(),
            latch: Latch::new(&client, &feed.settings),
            me: &me,
            leading: &leading,
        };
        let ended = tokio::select! {
            Err(e) = contender.run() => Err(e),
            how = ending.asked() => Ok(how),
        };
        let former = leading.send_replace(Leading::NotLeading);
        match ended {
            Ok(how) => {
                let limit = feed.settings.session_timeout;
                if tokio::time::timeout(limit, contender.go(former, how))
                    .await
                    .is_err()
                {
                    warn!("ZooKeeper cannot be reached: others can lead when the session has timed out");
                }
                return;
            }
            Err(ZkError::SessionExpired | ZkError::ClientClosed) => {}
            Err(e) => {
                let pause = match e {
                    ZkError::NoNode | ZkError::BadVersion | ZkError::RuntimeInconsistent => PAUSE,
                    _ => feed.settings.retry_wait,
                };
                let e = session::error(e, "contending for the leadership", &feed.settings);
                warn!("contending for the leadership begins anew:\n{e}");
                tokio::select! {
                    () = contender.latch.leave() => {}
                    () = session::over(&client) => {}
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = ending.asked() => return,
                }
            }
        }
    }
}

struct Contender<'a> {
    client: &'a Client,
    settings: Arc<Settings>,
    latch: Latch<'a>,
    me: &'a Addresses,
    leading: &'a watch::Sender<Leading>,
}

/// Why a leadership is over, or perhaps over.
enum Over {
    /// There is no connection: the node may still be there afterwards.
    Suspended,
    /// Somebody has touched the node.
    Touched,
}

impl Contender<'_> {
    /// Contends and leads, again and again, until the session is over or something unexpected happens.
    async fn run(&self) -> Result<Infallible, ZkError> {
        let path = self.latch.join().await?;
        loop {
            connected(self.client).await;
            // From here on no change of the connection is missed.
            let mut states = self.client.state_watcher();
            let granted = async {
                self.latch.first(&path).await?;
                let session = Uuid::new_v4();
                let (version, watcher) = self.latch.grant(&path, session).await?;
                let tenure = Tenure {
                    client: self.client.clone(),
                    settings: self.settings.clone(),
                    session,
                    latch: path.clone(),
                    version,
                };
                self.publish(&tenure).await?;
                Ok((tenure, watcher))
            };
            let (tenure, watcher) = match granted.await {
                Ok(granted) => granted,
                // The node lives on as long as the session does.
                Err(ZkError::ConnectionLoss) => continue,
                Err(e) => return Err(e),
            };
            if states.state() != SessionState::SyncConnected {
                continue;
            }
            let session = tenure.session;
            info!(%session, "leadership granted");
            self.leading.send_replace(Leading::Leading(Leadership::new(
                session,
                Store::ZooKeeper(tenure.clone()),
            )));
            let over = self.lead(&tenure, watcher, &mut states).await;
            self.leading.send_replace(Leading::NotLeading);
            match over? {
                Over::Suspended => warn!(%session, "leadership revoked: no connection to ZooKeeper"),
                Over::Touched => warn!(%session, "leadership revoked: its node in ZooKeeper was touched"),
            }
        }
    }

    /// Leads for as long as it may.
    async fn lead(
        &self,
        tenure: &Tenure,
        watcher: OneshotWatcher,
        states: &mut StateWatcher,
    ) -> Result<Over, ZkError> {
        let touched = watcher.changed();
        let published = self.keep_published(tenure);
        tokio::pin!(touched, published);
        loop {
            let state = tokio::select! {
                _ = &mut touched => return self.touched(),
                e = &mut published => return Err(e),
                state = states.changed() => state,
            };
            match state {
                SessionState::Disconnected if self.settings.tolerates_suspension => {
                    let limit = self
                        .settings
                        .left_without_connection(self.client.session_timeout());
                    match tokio::time::timeout(limit, states.changed()).await {
                        Ok(SessionState::SyncConnected) => {}
                        _ => return self.suspended(),
                    }
                }
                SessionState::SyncConnected => {}
                _ => return self.suspended(),
            }
        }
    }

    fn suspended(&self) -> Result<Over, ZkError> {
        match self.client.state().is_terminated() {
            true => Err(ZkError::SessionExpired),
            false => Ok(Over::Suspended),
        }
    }

    fn touched(&self) -> Result<Over, ZkError> {
        match self.client.state().is_terminated() {
            true => Err(ZkError::SessionExpired),
            false => Ok(Over::Touched),
        }
    }

    /// Writes the addresses, in place of those of an earlier leader.
    async fn publish(&self, tenure: &Tenure) -> Result<(), ZkError> {
        let paths = &self.settings.paths;
        for component in COMPONENTS {
            let directory = self.settings.node(CreateMode::Persistent);
            self.client.mkdir(&paths.component(component), &directory).await?;
        }
        loop {
            let mut writer = tenure.writer()?;
            for component in COMPONENTS {
                let path = paths.info(component);
                if self.client.check_stat(&path).await?.is_some() {
                    writer.add_delete(&path, None)?;
                }
                let address = match component {
                    "rest_server" => &self.me.rest,
                    _ => &self.me.control,
                };
                let node = self.settings.node(CreateMode::Ephemeral);
                writer.add_create(&path, &encode(address, tenure.session), &node)?;
            }
            match writer.commit().await.map_err(ZkError::from) {
                Ok(_) => return Ok(()),
                // An earlier leader's go with its session, perhaps just now.
                Err(ZkError::NoNode | ZkError::NodeExists) if self.is_below_leader().await? => {}
                Err(e) => return Err(e),
            }
        }
    }

    async fn is_below_leader(&self) -> Result<bool, ZkError> {
        for component in COMPONENTS {
            let path = self.settings.paths.component(component);
            if self.client.check_stat(&path).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the addresses again when somebody deletes or alters them. Returns only with an error.
    async fn keep_published(&self, tenure: &Tenure) -> ZkError {
        loop {
            match self.watch_published(tenure).await {
                Ok(Some(watchers)) => {
                    select_all(watchers.into_iter().map(|watcher| Box::pin(watcher.changed()))).await;
                    if self.client.state().is_terminated() {
                        return ZkError::SessionExpired;
                    }
                }
                Ok(None) => match self.publish(tenure).await {
                    Ok(()) | Err(ZkError::ConnectionLoss) => {}
                    Err(e) => return e,
                },
                Err(ZkError::ConnectionLoss) => {}
                Err(e) => return e,
            }
        }
    }

    /// None when the addresses are not as they have been written.
    async fn watch_published(&self, tenure: &Tenure) -> Result<Option<Vec<OneshotWatcher>>, ZkError> {
        let mut watchers = Vec::new();
        for component in COMPONENTS {
            let path = self.settings.paths.info(component);
            match self.client.get_and_watch_data(&path).await {
                Ok((bytes, stat, watcher)) => {
                    let written = super::info::decode(&bytes).map(|(_, session)| session);
                    let mine = stat.ephemeral_owner == self.client.session_id().0;
                    if !mine || written != Some(tenure.session) {
                        return Ok(None);
                    }
                    watchers.push(watcher);
                }
                Err(ZkError::NoNode) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        Ok(Some(watchers))
    }

    /// Leaves the election: first what tells others of this leader, then the node that the next one waits for.
    async fn go(&self, former: Leading, how: End) {
        if let (Leading::Leading(leadership), End::CleanUp) = (&former, how) {
            self.clean_up(leadership).await;
        }
        for component in COMPONENTS {
            self.unpublish(&self.settings.paths.info(component)).await;
        }
        self.latch.leave().await;
        if how == End::CleanUp {
            self.clean_up_leader().await;
        }
    }

    async fn unpublish(&self, path: &str) {
        loop {
            let gone = match self.client.check_stat(path).await {
                Ok(Some(stat)) if stat.ephemeral_owner == self.client.session_id().0 => {
                    self.client.delete(path, Some(stat.version)).await
                }
                Ok(_) => Ok(()),
                Err(e) => Err(e),
            };
            if gone != Err(ZkError::ConnectionLoss) {
                return;
            }
        }
    }

    /// Deletes what jobs have.
    async fn clean_up(&self, leadership: &Leadership) {
        let paths = &self.settings.paths;
        if let Store::ZooKeeper(tenure) = leadership.store() {
            let roots = || tenure.remove(vec![format!("{}/jobs", paths.cluster()), paths.plans()]);
            if let Err(e) = tenure.change("deleting the cluster's data", roots).await {
                warn!("HA data of the cluster stays:\n{e}");
            }
        }
    }

    /// Deletes the rest, unless there are other contenders.
    async fn clean_up_leader(&self) {
        let paths = &self.settings.paths;
        if self.client.delete(&paths.latch(), None).await.is_err() {
            return;
        }
        let mut nodes = tree(self.client, &paths.leader()).await.unwrap_or_default();
        nodes.push(paths.cluster().to_owned());
        for path in nodes {
            if self.client.delete(&path, None).await.is_err() {
                return;
            }
        }
    }
}
