//! Who leads, as the leader's nodes say.

use std::time::Duration;

use futures::future::select_all;
use tokio::sync::watch;
use uuid::Uuid;
use zookeeper_client::{Client, Error as ZkError, OneshotWatcher};

use super::info::decode;
use super::session::{Feed, over};
use crate::{Addresses, LeaderInfo};

/// After an answer that no request should have.
const PAUSE: Duration = Duration::from_millis(500);

/// Tells of each leader, until nobody listens or there will be no session any more.
pub(super) async fn follow(mut feed: Feed, leader: watch::Sender<Option<LeaderInfo>>) {
    while let Some(client) = feed.session().await {
        tokio::select! {
            () = follow_in(&client, &feed, &leader) => {}
            () = over(&client) => {}
            () = leader.closed() => return,
        }
    }
}

async fn follow_in(client: &Client, feed: &Feed, leader: &watch::Sender<Option<LeaderInfo>>) {
    loop {
        let paths = &feed.settings.paths;
        let (control, rest) = (paths.info("dispatcher"), paths.info("rest_server"));
        let read = async { Ok((read(client, &control).await?, read(client, &rest).await?)) };
        match read.await {
            Ok(((control, a), (rest, b))) => {
                if let Some(now) = pair(control, rest) {
                    leader.send_if_modified(|known| {
                        let changed = *known != now;
                        *known = now;
                        changed
                    });
                }
                select_all([Box::pin(a.changed()), Box::pin(b.changed())]).await;
            }
            Err(ZkError::ConnectionLoss) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// None when the two are of two leaders: another look will follow, for one of them has changed since.
fn pair(control: Option<(String, Uuid)>, rest: Option<(String, Uuid)>) -> Option<Option<LeaderInfo>> {
    let (Some((control, session)), Some((rest, of_rest))) = (control, rest) else {
        return Some(None);
    };
    let addresses = Addresses { control, rest };
    (session == of_rest).then_some(Some(LeaderInfo { session, addresses }))
}

/// What a node says, and a watcher for when it says something else.
async fn read(client: &Client, path: &str) -> Result<(Option<(String, Uuid)>, OneshotWatcher), ZkError> {
    loop {
        match client.get_and_watch_data(path).await {
            Ok((bytes, _, watcher)) => return Ok((decode(&bytes), watcher)),
            Err(ZkError::NoNode) => {
                // Else it has just come.
                if let (None, watcher) = client.check_and_watch_stat(path).await? {
                    return Ok((None, watcher));
                }
            }
            Err(e) => return Err(e),
        }
    }
}
