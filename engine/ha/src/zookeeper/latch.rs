//! A contender's node, in the form of Curator's LeaderLatch: `_c_<uuid>-latch-<sequence>`, the lowest of which leads.

use uuid::Uuid;
use zookeeper_client::{Client, CreateMode, Error as ZkError, OneshotWatcher};

use super::Settings;

/// A contender in one session. Its node is gone when the session is over, or after `leave`.
pub(super) struct Latch<'a> {
    client: &'a Client,
    settings: &'a Settings,
    directory: String,
    /// The node's name up to the sequence; nobody else's begins so.
    name: String,
}

impl<'a> Latch<'a> {
    pub(super) fn new(client: &'a Client, settings: &'a Settings) -> Latch<'a> {
        Latch {
            client,
            settings,
            directory: settings.paths.latch(),
            name: format!("_c_{}-latch-", Uuid::new_v4()),
        }
    }

    /// Makes the node, after those of all other contenders, and gives its path.
    pub(super) async fn join(&self) -> Result<String, ZkError> {
        let prefix = format!("{}/{}", self.directory, self.name);
        loop {
            let options = self.settings.node(CreateMode::EphemeralSequential);
            match self.client.create(&prefix, &[], &options).await {
                Ok((_, sequence)) => return Ok(format!("{prefix}{sequence}")),
                Err(ZkError::NoNode) => {
                    let directory = self.settings.node(CreateMode::Persistent);
                    match self.client.mkdir(&self.directory, &directory).await {
                        // Somebody deletes the tree at the same time, or the connection was lost.
                        Ok(()) | Err(ZkError::NoNode | ZkError::ConnectionLoss) => {}
                        Err(e) => return Err(e),
                    }
                }
                // It may have been made.
                Err(ZkError::ConnectionLoss) => {
                    if let Some(path) = self.mine().await? {
                        return Ok(path);
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Waits until no contender is before this one. The error is `NoNode` when the node has been deleted.
    pub(super) async fn first(&self, path: &str) -> Result<(), ZkError> {
        loop {
            match self.before(path).await? {
                None => return Ok(()),
                // Only the next one is woken when a contender goes.
                Some(before) => match self.client.get_and_watch_data(&before).await {
                    Ok((_, _, watcher)) => {
                        watcher.changed().await;
                        if self.client.state().is_terminated() {
                            return Err(ZkError::SessionExpired);
                        }
                    }
                    Err(ZkError::NoNode | ZkError::ConnectionLoss) => {}
                    Err(e) => return Err(e),
                },
            }
        }
    }

    /// The contender before this one.
    async fn before(&self, path: &str) -> Result<Option<String>, ZkError> {
        let own = sequence(path);
        let mut contenders = self.contenders().await?;
        if !contenders.iter().any(|name| path.ends_with(name.as_str())) {
            return Err(ZkError::NoNode);
        }
        contenders.retain(|name| sequence(name) < own);
        let before = contenders.iter().max_by_key(|name| sequence(name));
        Ok(before.map(|name| format!("{}/{name}", self.directory)))
    }

    /// Writes the session of a grant into the node: whoever leads then knows the node's version, and an earlier
    /// grant's writes, which know another one, are refused.
    pub(super) async fn grant(&self, path: &str, session: Uuid) -> Result<(i32, OneshotWatcher), ZkError> {
        let text = session.to_string();
        let version = self.client.set_data(path, text.as_bytes(), None).await?.version;
        let (_, stat, watcher) = self.client.get_and_watch_data(path).await?;
        // Else somebody else has written into the node.
        if stat.version != version {
            return Err(ZkError::BadVersion);
        }
        Ok((version, watcher))
    }

    /// Deletes the node, and one that is just being made.
    pub(super) async fn leave(&self) {
        while let Ok(Some(path)) = self.mine().await {
            match self.client.delete(&path, None).await {
                Ok(()) | Err(ZkError::NoNode | ZkError::ConnectionLoss) => {}
                Err(_) => return,
            }
        }
    }

    async fn mine(&self) -> Result<Option<String>, ZkError> {
        let mut contenders = self.contenders().await?;
        contenders.retain(|name| name.starts_with(&self.name));
        Ok(contenders
            .first()
            .map(|name| format!("{}/{name}", self.directory)))
    }

    async fn contenders(&self) -> Result<Vec<String>, ZkError> {
        loop {
            match self.client.list_children(&self.directory).await {
                Ok(names) => {
                    return Ok(names
                        .into_iter()
                        .filter(|name| sequence(name).is_some())
                        .collect());
                }
                Err(ZkError::NoNode) => return Ok(Vec::new()),
                Err(ZkError::ConnectionLoss) => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// The number that ZooKeeper has put after a contender's name.
fn sequence(name: &str) -> Option<i64> {
    let (name, sequence) = name.rsplit_once("latch-")?;
    name.contains("_c_").then(|| sequence.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_are_told_by_their_number() {
        assert_eq!(
            sequence("_c_c8d6a3e0-0b9c-4b0e-8d3f-000000000000-latch-0000000012"),
            Some(12)
        );
        assert_eq!(sequence("_c_x-lock-0000000012"), None);
        assert_eq!(sequence("something"), None);
    }
}
