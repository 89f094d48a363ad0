//! Contending for the lease, and renewing it.

use std::time::{Duration, Instant};

use millrace_core::{ErrorKind, Result};
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use super::Tenure;
use super::jobs::jobs;
use super::lease::Lease;
use super::maps::{ATTEMPTS, Change, Maps};
use super::names::{LEASE, leader_entries, leader_keys};
use super::observer::{Observer, View, lease_text};
use crate::election::{End, Ending};
use crate::leadership::{Store, fenced};
use crate::{Addresses, Leadership, Leading};

/// A contender's task.
pub(super) async fn contend(
    maps: Maps,
    observer: Observer,
    me: Addresses,
    leading: watch::Sender<Leading>,
    mut ending: Ending,
) {
    let contender = Contender { maps, me };
    let mut views = observer.views();
    // This session, and the last one: the lease may still be its.
    let mut mine = [Uuid::new_v4(); 2];
    loop {
        let session = Uuid::new_v4();
        mine = [session, mine[0]];
        let renewed = tokio::select! {
            renewed = contender.acquire(&mut views, mine) => renewed,
            // A request to acquire the lease may be on its way.
            how = ending.asked() => return contender.go(mine, how).await,
        };
        let Some(renewed) = renewed else { return };
        info!(%session, "leadership granted");
        let tenure = contender.tenure(session);
        let leadership = Leadership::new(session, Store::Kubernetes(tenure));
        leading.send_replace(Leading::Leading(leadership));
        let ended = tokio::select! {
            () = contender.lead(&mut views, session, renewed) => None,
            how = ending.asked() => Some(how),
        };
        leading.send_replace(Leading::NotLeading);
        match ended {
            Some(how) => return contender.go(mine, how).await,
            None => warn!(%session, "leadership revoked: the lease was not renewed in time, or is another's"),
        }
    }
}

struct Contender {
    maps: Maps,
    me: Addresses,
}

impl Contender {
    fn tenure(&self, session: Uuid) -> Tenure {
        Tenure {
            maps: self.maps.clone(),
            session,
        }
    }

    /// Waits for the lease, and gives the time from which on it counts. A lease of this contender's own sessions it
    /// need not wait for. None when nothing is observed any more.
    async fn acquire(&self, views: &mut watch::Receiver<View>, mine: [Uuid; 2]) -> Option<Instant> {
        loop {
            let view = views.borrow_and_update().clone();
            if let Some(wait) = wait_for(&view, mine) {
                tokio::select! {
                    changed = views.changed() => changed.ok()?,
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            }
            let start = Instant::now();
            match self.take(&view, mine[0]).await {
                Ok(Change::Made) => return Some(start),
                // The view is a little behind, or somebody else was faster.
                Ok(Change::Conflict) => {}
                Err(e) => warn!("the lease cannot be acquired:\n{e}"),
            }
            tokio::select! {
                changed = views.changed() => changed.ok()?,
                () = tokio::time::sleep(self.maps.settings.retry_period) => {}
            }
        }
    }

    /// Takes the lease, if it is still as it was seen.
    async fn take(&self, view: &View, session: Uuid) -> Result<Change> {
        let settings = &self.maps.settings;
        let name = settings.names.cluster();
        let map = self.maps.get(&name).await?;
        if map.as_ref().and_then(lease_text) != view.lease_text() || map.is_some() != view.map.is_some() {
            return Ok(Change::Conflict);
        }
        let before = view.seen.as_ref().map(|seen| &seen.lease);
        let lease = Lease::acquired(before, session.to_string(), settings.lease).to_text();
        let entries = leader_entries(&self.me, session);
        match map {
            Some(map) => {
                self.maps
                    .merge(&map, json!({ LEASE: lease }), json!(entries))
                    .await
            }
            None => {
                let annotations = [(LEASE.to_owned(), lease)].into();
                self.maps.create(&name, annotations, entries).await
            }
        }
    }

    /// Renews the lease until that has failed for too long, or somebody else has it.
    async fn lead(&self, views: &mut watch::Receiver<View>, session: Uuid, mut renewed: Instant) {
        let settings = &self.maps.settings;
        let mut next = renewed + settings.retry_period;
        loop {
            let deadline = renewed + settings.renew_deadline;
            tokio::select! {
                () = tokio::time::sleep_until(deadline.into()) => return,
                () = tokio::time::sleep_until(next.into()) => {}
                // Taken, deleted or altered: a renewal finds out, and mends what it may.
                is_observed = self.until(views, session, false) => if !is_observed {
                    return;
                }
            }
            let start = Instant::now();
            let renewal = tokio::time::timeout_at(deadline.into(), self.renew(session));
            match renewal.await {
                Ok(Ok(())) => renewed = start,
                Ok(Err(e)) if e.kind() == ErrorKind::Fenced => return,
                Ok(Err(e)) => warn!("the lease was not renewed, and is tried again:\n{e}"),
                Err(_) => return,
            }
            next = start + settings.retry_period;
            // What a view shows that is older than the renewal asks for no other one.
            let _ = tokio::time::timeout_at(next.into(), self.until(views, session, true)).await;
        }
    }

    /// Waits for a view that shows the own lease and addresses, or one that does not. False when nothing is observed
    /// any more.
    async fn until(&self, views: &mut watch::Receiver<View>, session: Uuid, is_mine: bool) -> bool {
        let fits = |view: &View| shows(view, session, &self.me) == is_mine;
        views.wait_for(fits).await.is_ok()
    }

    async fn renew(&self, session: Uuid) -> Result<()> {
        let settings = &self.maps.settings;
        let name = settings.names.cluster();
        for _ in 0..ATTEMPTS {
            let map = self.maps.get(&name).await?;
            let entries = leader_entries(&self.me, session);
            let change = match &map {
                // Deleted by hand. Others respect the lease that they have seen.
                None => {
                    let lease = Lease::acquired(None, session.to_string(), settings.lease);
                    let annotations = [(LEASE.to_owned(), lease.to_text())].into();
                    self.maps.create(&name, annotations, entries).await?
                }
                Some(map) => {
                    let lease = own_lease(lease_text(map), session).ok_or_else(|| fenced(session))?;
                    let lease = lease.renewed().to_text();
                    self.maps
                        .merge(map, json!({ LEASE: lease }), json!(entries))
                        .await?
                }
            };
            if change == Change::Made {
                return Ok(());
            }
        }
        Err(millrace_core::Error::external(
            "the leader's ConfigMap was always changed by somebody else",
        ))
    }

    /// Leaves the election, so that the next contender need not wait.
    async fn go(&self, mine: [Uuid; 2], how: End) {
        let limit = self.maps.settings.renew_deadline;
        let going = async {
            match how {
                End::Release => self.release(mine).await,
                End::CleanUp => self.clean_up(mine[0]).await,
            }
        };
        match tokio::time::timeout(limit, going).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) if e.kind() == ErrorKind::Fenced => {}
            Ok(Err(e)) => warn!("the lease was not released: others can lead when it has ended\n{e}"),
            Err(_) => warn!("the lease was not released: others can lead when it has ended"),
        }
    }

    async fn release(&self, mine: [Uuid; 2]) -> Result<()> {
        let tenure = self.tenure(mine[0]);
        let keys = leader_keys().map(|key| (key, Value::Null));
        let data = Value::Object(keys.into_iter().collect());
        let name = self.maps.settings.names.cluster();
        tenure
            .change("releasing the lease", || async {
                let Some(map) = self.maps.get(&name).await? else {
                    return Ok(Change::Made);
                };
                let lease = mine
                    .iter()
                    .find_map(|session| own_lease(lease_text(&map), *session));
                let lease = lease.ok_or_else(|| fenced(mine[0]))?.released().to_text();
                self.maps.merge(&map, json!({ LEASE: lease }), data.clone()).await
            })
            .await
    }

    /// Deletes what jobs have, and the lease with all that is beside it.
    async fn clean_up(&self, session: Uuid) -> Result<()> {
        let tenure = self.tenure(session);
        for (job, _) in jobs(&self.maps).await? {
            tenure.remove_job(job).await?;
        }
        tenure
            .change("deleting the leader's ConfigMap", || async {
                let map = tenure.cluster().await?;
                self.maps.delete(&map).await
            })
            .await
    }
}

/// How long the lease is another's; none when it may be tried for.
fn wait_for(view: &View, mine: [Uuid; 2]) -> Option<Duration> {
    if !view.known {
        return Some(Duration::from_secs(1));
    }
    if mine
        .iter()
        .any(|session| own_lease(view.lease_text(), *session).is_some())
    {
        return None;
    }
    let left = view.free_at()?.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

fn own_lease(text: Option<&str>, session: Uuid) -> Option<Lease> {
    let lease = Lease::parse(text?)?;
    (lease.holder() == Some(session.to_string().as_str())).then_some(lease)
}

/// Whether a view shows this session's lease and addresses.
fn shows(view: &View, session: Uuid, me: &Addresses) -> bool {
    let data = view.map.as_ref().and_then(|map| map.data.as_ref());
    let published = leader_entries(me, session)
        .iter()
        .all(|(key, value)| data.and_then(|data| data.get(key)) == Some(value));
    published && own_lease(view.lease_text(), session).is_some()
}
