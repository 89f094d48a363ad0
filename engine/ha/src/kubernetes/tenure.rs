//! What a leader writes with: a change is made of the version only in which its own lease was read.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use millrace_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use super::lease::Lease;
use super::maps::{ATTEMPTS, Change, Maps};
use super::observer::lease_text;
use crate::leadership::fenced;

/// A grant of the leadership: the lease's holder is its session.
#[derive(Clone)]
pub(crate) struct Tenure {
    pub(super) maps: Maps,
    pub(super) session: Uuid,
}

impl Tenure {
    /// The cluster's ConfigMap, if it has this grant's lease in it.
    pub(super) async fn cluster(&self) -> Result<Arc<ConfigMap>> {
        let name = self.maps.settings.names.cluster();
        match self.maps.get(&name).await? {
            Some(map) if holder(&map).as_deref() == Some(self.session.to_string().as_str()) => {
                Ok(Arc::new(map))
            }
            Some(_) => Err(fenced(self.session)),
            // A leader makes it anew when somebody has deleted it.
            None => Err(Error::external("the leader's ConfigMap is not there").with_detail(name)),
        }
    }

    /// Changes data of the cluster's ConfigMap.
    pub(super) async fn change_cluster(&self, what: &str, data: &Value) -> Result<()> {
        self.change(what, || async {
            let map = self.cluster().await?;
            self.maps.merge(&map, json!({}), data.clone()).await
        })
        .await
    }

    /// Makes a change, again where there was no answer or somebody was faster: it must not matter whether it was made.
    pub(super) async fn change<F>(&self, what: &str, change: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<Change>>,
    {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let e = match change().await {
                Ok(Change::Made) => return Ok(()),
                Ok(Change::Conflict) if attempt < ATTEMPTS => continue,
                Ok(Change::Conflict) => return Err(self.always_others(what)),
                Err(e) => e,
            };
            if e.kind() != ErrorKind::External || attempt >= ATTEMPTS {
                return Err(e);
            }
            warn!(attempt, "Kubernetes: {what} is repeated:\n{e}");
            let pause = Duration::from_millis(50) * attempt;
            tokio::time::sleep(pause.min(self.maps.settings.retry_period)).await;
        }
    }

    fn always_others(&self, what: &str) -> Error {
        Error::external("a ConfigMap was always changed by somebody else").with_detail(what.to_owned())
    }
}

fn holder(map: &ConfigMap) -> Option<String> {
    let lease = Lease::parse(lease_text(map)?)?;
    lease.holder().map(str::to_owned)
}

/// Bytes in base64, as they are in JSON.
pub(super) fn encode(bytes: &[u8]) -> Value {
    serde_json::to_value(ByteString(bytes.to_vec())).unwrap_or_default()
}

/// None for what is no base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes: ByteString = serde_json::from_value(Value::from(text)).ok()?;
    Some(bytes.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_base64() {
        assert_eq!(encode(b"ab\xff"), Value::from("YWL/"));
        assert_eq!(decode("YWL/"), Some(b"ab\xff".to_vec()));
        assert_eq!(decode("?"), None);
    }
}
