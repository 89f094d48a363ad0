//! What the cluster's ConfigMap is like now, and for how long its lease has been seen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{WatchEvent, WatchParams};
use millrace_core::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use super::lease::Lease;
use super::maps::{Maps, code, error};
use super::names::{LEASE, leader_of};
use crate::LeaderInfo;

/// What is known.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Whether there was an answer yet.
    pub(super) known: bool,
    pub(super) map: Option<Arc<ConfigMap>>,
    /// The newest lease that was seen, also when it is gone: its holder may live.
    pub(super) seen: Option<Seen>,
}

#[derive(Debug, Clone)]
pub(super) struct Seen {
    text: String,
    pub(super) lease: Lease,
    /// From then on nobody has to respect it, if it stays as it is.
    pub(super) until: Instant,
}

/// Keeps a view for as long as there are clones of this.
#[derive(Clone)]
pub(super) struct Observer {
    views: watch::Receiver<View>,
    _task: Arc<Task>,
}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Observer {
    pub(super) fn start(maps: Maps, runtime: &Handle) -> Observer {
        let (sender, views) = watch::channel(View::default());
        let task = runtime.spawn(observe(maps, sender));
        Observer {
            views,
            _task: Arc::new(Task(task.abort_handle())),
        }
    }

    pub(super) fn views(&self) -> watch::Receiver<View> {
        self.views.clone()
    }
}

impl View {
    fn update(&mut self, map: Option<ConfigMap>, default: Duration) {
        self.known = true;
        if let Some(text) = map.as_ref().and_then(lease_text)
            && self.seen.as_ref().is_none_or(|seen| seen.text != text)
            && let Some(lease) = Lease::parse(text)
        {
            self.seen = Some(Seen::now(text, lease, self.seen.is_none(), default));
        }
        self.map = map.map(Arc::new);
    }

    /// The lease as it stands in the ConfigMap.
    pub(super) fn lease_text(&self) -> Option<&str> {
        lease_text(self.map.as_deref()?)
    }

    /// When somebody else than its holder may take the lease.
    pub(super) fn free_at(&self) -> Option<Instant> {
        let seen = self.seen.as_ref()?;
        let held = seen.lease.holder().is_some();
        // An unreadable lease, or none, in a ConfigMap that is there is nobody's.
        let stands = self.map.is_none() || self.lease_text() == Some(&seen.text);
        (held && stands).then_some(seen.until)
    }
}

impl Seen {
    fn now(text: &str, lease: Lease, first: bool, default: Duration) -> Seen {
        let whole = lease.duration().unwrap_or(default);
        // Of changes that this process has seen it has measured the age itself. The lease that it finds at its start
        // may be old, which only the clocks tell: Flink believes them always.
        let left = match (first, lease.left_by_clock()) {
            (true, Some(left)) => left.min(whole),
            _ => whole,
        };
        Seen {
            text: text.to_owned(),
            lease,
            until: Instant::now() + left,
        }
    }
}

pub(super) fn lease_text(map: &ConfigMap) -> Option<&str> {
    let annotations = map.metadata.annotations.as_ref()?;
    annotations.get(LEASE).map(String::as_str)
}

async fn observe(maps: Maps, views: watch::Sender<View>) {
    // Failures of one kind are told once.
    let mut failing = false;
    loop {
        match watch_once(&maps, &views, &mut failing).await {
            Ok(()) => {}
            Err(e) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!("the watch of the leader's ConfigMap is started again:\n{e}");
                }
                let pause = maps.settings.retry_period.min(Duration::from_secs(1));
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Reads, then watches until the watch ends.
async fn watch_once(maps: &Maps, views: &watch::Sender<View>, failing: &mut bool) -> Result<()> {
    let settings = &maps.settings;
    let name = settings.names.cluster();
    let limit = settings.request_limit();
    let map = maps.get(&name).await?;
    *failing = false;
    let version = map
        .as_ref()
        .and_then(|map| map.metadata.resource_version.clone())
        .unwrap_or_default();
    views.send_modify(|view| view.update(map, settings.lease));
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    let failed = |e| error(e, &name, settings);
    let no_answer = |_| Error::external("a watch in Kubernetes has not begun in time");
    let events = tokio::time::timeout(limit, maps.api.watch(&parameters, &version))
        .await
        .map_err(no_answer)?
        .map_err(failed)?;
    let mut events = std::pin::pin!(events);
    loop {
        // Where somebody leads, it renews its lease all the time: silence is a dead connection, or a dead leader.
        // Looking once more tells which.
        let silence = settings.lease * 2;
        let Ok(event) = tokio::time::timeout(silence, events.next()).await else {
            debug!("nothing was heard of the leader's ConfigMap for {silence:?}");
            return Ok(());
        };
        match event {
            None => return Ok(()),
            Some(Ok(WatchEvent::Added(map) | WatchEvent::Modified(map))) => {
                views.send_modify(|view| view.update(Some(map), settings.lease));
            }
            Some(Ok(WatchEvent::Deleted(_))) => views.send_modify(|view| view.update(None, settings.lease)),
            Some(Ok(WatchEvent::Bookmark(_))) => {}
            // The version is too old to go on from: read again.
            Some(Ok(WatchEvent::Error(status))) if status.code == 410 => return Ok(()),
            Some(Ok(WatchEvent::Error(status))) => return Err(failed(kube::Error::Api(status))),
            Some(Err(e)) if code(&e) == Some(410) => return Ok(()),
            Some(Err(e)) => return Err(failed(e)),
        }
    }
}

/// Tells of each leader, until nobody listens or nothing is observed any more.
pub(super) async fn follow(mut views: watch::Receiver<View>, leader: watch::Sender<Option<LeaderInfo>>) {
    loop {
        let now = {
            let view = views.borrow_and_update();
            let data = view.map.as_ref().and_then(|map| map.data.as_ref());
            data.and_then(leader_of)
        };
        leader.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
        let changed = tokio::select! {
            changed = views.changed() => changed.is_ok(),
            () = leader.closed() => false,
        };
        if !changed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE_TIME: Duration = Duration::from_secs(100);

    fn map(lease: &str) -> Option<ConfigMap> {
        let mut map = ConfigMap::default();
        map.metadata.annotations = Some([(LEASE.to_owned(), lease.to_owned())].into());
        Some(map)
    }

    fn left(view: &View) -> Option<u64> {
        let free_at = view.free_at()?;
        Some(
            free_at
                .saturating_duration_since(Instant::now())
                .as_secs_f64()
                .round() as u64,
        )
    }

    #[test]
    fn a_lease_that_is_renewed_is_respected_whatever_the_clocks_say() {
        let mut view = View::default();
        assert_eq!(left(&view), None);
        let lease = Lease::acquired(None, "a".to_owned(), LEASE_TIME);
        view.update(map(&lease.to_text()), LEASE_TIME);
        assert_eq!(left(&view), Some(100));
        let old = lease
            .to_text()
            .replace("\"renewTime\":\"20", "\"renewTime\":\"19");
        view.update(map(&old), LEASE_TIME);
        assert_eq!(left(&view), Some(100), "it has changed just now");
        view.update(map(&lease.released().to_text()), LEASE_TIME);
        assert_eq!(left(&view), None);
    }

    #[test]
    fn an_old_lease_that_is_found_at_the_start_is_free() {
        let lease = Lease::acquired(None, "a".to_owned(), LEASE_TIME);
        let old = lease
            .to_text()
            .replace("\"renewTime\":\"20", "\"renewTime\":\"19");
        let mut view = View::default();
        view.update(map(&old), LEASE_TIME);
        assert_eq!(left(&view), Some(0));
    }

    #[test]
    fn after_a_deletion_by_hand_the_last_holder_is_respected_and_nobody_else() {
        let lease = Lease::acquired(None, "a".to_owned(), LEASE_TIME);
        let mut view = View::default();
        view.update(map(&lease.to_text()), LEASE_TIME);
        view.update(None, LEASE_TIME);
        assert_eq!(left(&view), Some(100));
        view.update(map("not a lease"), LEASE_TIME);
        assert_eq!(left(&view), None);
        view.update(Some(ConfigMap::default()), LEASE_TIME);
        assert_eq!(left(&view), None);
    }
}
