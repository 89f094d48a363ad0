//! Entries of jobs in the cluster's ConfigMap, pointers to checkpoints in one for each job.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use millrace_core::ids::{CheckpointId, JobId};
use millrace_core::{Error, Result};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::Tenure;
use super::maps::{Change, Maps};
use super::names::{COUNTER, checkpoint_key, checkpoint_of, job_of, plan_key};
use super::tenure::{decode, encode};

/// What the values of a ConfigMap may be together, a little below what Kubernetes allows.
const MAX_DATA: usize = 1000 * 1024;

pub(super) async fn jobs(maps: &Maps) -> Result<Vec<(JobId, Vec<u8>)>> {
    let name = maps.settings.names.cluster();
    Ok(entries(maps.get(&name).await?, job_of))
}

pub(super) async fn checkpoints(maps: &Maps, job: JobId) -> Result<Vec<(CheckpointId, Vec<u8>)>> {
    let name = maps.settings.names.job(job);
    let mut checkpoints = entries(maps.get(&name).await?, checkpoint_of);
    checkpoints.sort_by_key(|(id, _)| *id);
    Ok(checkpoints)
}

/// The entries with a key of one kind.
fn entries<K>(map: Option<ConfigMap>, key_of: impl Fn(&str) -> Option<K>) -> Vec<(K, Vec<u8>)> {
    let data = map.and_then(|map| map.data).unwrap_or_default();
    let mut entries = Vec::new();
    for (key, text) in data {
        let Some(id) = key_of(&key) else { continue };
        match decode(&text) {
            Some(bytes) => entries.push((id, bytes)),
            None => warn!("Kubernetes: {key} holds no entry, and is left alone"),
        }
    }
    entries
}

impl Tenure {
    pub(crate) async fn put_job(&self, job: JobId, entry: &[u8]) -> Result<()> {
        let (key, value) = (plan_key(job), encode(entry));
        self.change("writing a job's entry", || async {
            let map = self.cluster().await?;
            check_room(&map, &key, &value)?;
            self.maps.merge(&map, json!({}), json!({ &key: value })).await
        })
        .await
    }

    pub(crate) async fn put_checkpoint(
        &self,
        job: JobId,
        id: CheckpointId,
        pointer: &[u8],
        keep: usize,
    ) -> Result<()> {
        let name = self.maps.settings.names.job(job);
        self.change("writing a pointer to a checkpoint", || async {
            // In this order: a later leader that has written meanwhile makes this a change of another version.
            let map = self.maps.get(&name).await?;
            self.cluster().await?;
            let data = with_checkpoint(map.as_ref(), id, pointer, keep);
            match &map {
                Some(map) => self.maps.merge(map, json!({}), Value::Object(data)).await,
                None => self.maps.create(&name, BTreeMap::new(), texts(data)).await,
            }
        })
        .await
    }

    pub(crate) async fn remove_job(&self, job: JobId) -> Result<()> {
        let name = self.maps.settings.names.job(job);
        self.change("removing a job's checkpoints", || async {
            let map = self.maps.get(&name).await?;
            self.cluster().await?;
            match &map {
                Some(map) => self.maps.delete(map).await,
                None => Ok(Change::Made),
            }
        })
        .await?;
        let entry = json!({ plan_key(job): null });
        self.change_cluster("removing a job's entry", &entry).await
    }
}

/// What is to be merged into a job's data: the new pointer, the counter, and the outdated pointers as null.
fn with_checkpoint(
    map: Option<&ConfigMap>,
    id: CheckpointId,
    pointer: &[u8],
    keep: usize,
) -> Map<String, Value> {
    let data = map.and_then(|map| map.data.as_ref());
    let mut others: Vec<(CheckpointId, &String)> = data
        .into_iter()
        .flat_map(|data| data.keys())
        .filter_map(|key| Some((checkpoint_of(key)?, key)))
        .filter(|(other, _)| *other != id)
        .collect();
    others.sort();
    others.truncate(others.len().saturating_sub(keep - 1));
    let outdated = others.into_iter().map(|(_, key)| (key.clone(), Value::Null));
    let mut merged: Map<String, Value> = outdated.collect();
    merged.insert(checkpoint_key(id), encode(pointer));
    merged.insert(COUNTER.to_owned(), Value::from((id.0 + 1).to_string()));
    merged
}

/// The texts among the values.
fn texts(data: Map<String, Value>) -> BTreeMap<String, String> {
    data.into_iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
        .collect()
}

fn check_room(map: &ConfigMap, key: &str, value: &Value) -> Result<()> {
    let others = map.data.iter().flatten().filter(|(other, _)| *other != key);
    let held: usize = others.map(|(key, value)| key.len() + value.len()).sum();
    let size = held + key.len() + value.as_str().map_or(0, str::len);
    if size <= MAX_DATA {
        return Ok(());
    }
    Err(Error::user("there is no room for another job's entry")
        .with_detail(format!(
            "{key}: the entries of all jobs would be {size} bytes, where a ConfigMap takes {MAX_DATA}"
        ))
        .with_hint("run fewer jobs in this cluster"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[u64]) -> ConfigMap {
        let data = ids
            .iter()
            .map(|id| (checkpoint_key(CheckpointId(*id)), "YQ==".to_owned()));
        ConfigMap {
            data: Some(data.chain([(COUNTER.to_owned(), "1".to_owned())]).collect()),
            ..ConfigMap::default()
        }
    }

    fn outdated(before: &[u64], id: u64, keep: usize) -> Vec<u64> {
        let merged = with_checkpoint(Some(&of(before)), CheckpointId(id), b"p", keep);
        assert_eq!(merged[&checkpoint_key(CheckpointId(id))], "cA==");
        assert_eq!(merged[COUNTER], (id + 1).to_string());
        let gone = merged.iter().filter(|(_, value)| value.is_null());
        gone.filter_map(|(key, _)| Some(checkpoint_of(key)?.0)).collect()
    }

    #[test]
    fn the_newest_pointers_are_kept() {
        assert_eq!(outdated(&[], 1, 2), Vec::<u64>::new());
        assert_eq!(outdated(&[1], 2, 2), Vec::<u64>::new());
        assert_eq!(outdated(&[1, 2], 3, 2), [1]);
        assert_eq!(outdated(&[1, 2, 3], 4, 1), [1, 2, 3]);
        assert_eq!(outdated(&[2, 3], 3, 2), Vec::<u64>::new(), "written again");
    }

    #[test]
    fn a_full_map_is_refused_before_kubernetes_does() {
        let mut map = of(&[]);
        let key = plan_key(JobId([1; 16]));
        assert!(check_room(&map, &key, &Value::from("x".repeat(700_000))).is_ok());
        if let Some(data) = &mut map.data {
            data.insert("other".to_owned(), "x".repeat(400_000));
        }
        let e = check_room(&map, &key, &Value::from("x".repeat(700_000))).unwrap_err();
        assert!(e.to_string().contains("1100"), "{e}");
    }
}
