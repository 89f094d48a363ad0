//! Entries of jobs, and pointers to their checkpoints.

use millrace_core::Result;
use millrace_core::ids::{CheckpointId, JobId};
use tracing::warn;
use zookeeper_client::{Client, CreateMode, Error as ZkError};

use super::Tenure;
use super::paths::{checkpoint_of, job_of};
use super::session::Sessions;
use super::tenure::tree;

pub(super) async fn jobs(sessions: &Sessions) -> Result<Vec<(JobId, Vec<u8>)>> {
    let plans = sessions.settings().paths.plans();
    let read = |client: Client| read_all(client, plans.clone());
    let nodes = sessions.ask("reading the jobs", read).await?;
    let mut jobs = Vec::new();
    for (name, entry) in nodes {
        match job_of(&name) {
            Some(job) => jobs.push((job, entry)),
            None => warn!("ZooKeeper: {plans}/{name} is no job's entry, and is left alone"),
        }
    }
    Ok(jobs)
}

pub(super) async fn checkpoints(sessions: &Sessions, job: JobId) -> Result<Vec<(CheckpointId, Vec<u8>)>> {
    let path = sessions.settings().paths.checkpoints(job);
    let read = |client: Client| read_all(client, path.clone());
    let nodes = sessions.ask("reading a job's checkpoints", read).await?;
    let mut checkpoints: Vec<_> = nodes
        .into_iter()
        .filter_map(|(name, pointer)| Some((checkpoint_of(&name)?, pointer)))
        .collect();
    checkpoints.sort_by_key(|(id, _)| *id);
    Ok(checkpoints)
}

/// Names and bytes of the nodes below one.
async fn read_all(client: Client, path: String) -> Result<Vec<(String, Vec<u8>)>, ZkError> {
    // The server that is asked may be behind the one that a former leader has written to.
    client.sync(&path).await?;
    let names = match client.list_children(&path).await {
        Ok(names) => names,
        Err(ZkError::NoNode) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut nodes = Vec::new();
    for name in names {
        match client.get_data(&format!("{path}/{name}")).await {
            Ok((bytes, _)) => nodes.push((name, bytes)),
            Err(ZkError::NoNode) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(nodes)
}

impl Tenure {
    pub(crate) async fn put_job(&self, job: JobId, entry: &[u8]) -> Result<()> {
        let paths = &self.settings.paths;
        let put = || self.put(vec![(paths.plan(job), entry.to_vec())], paths.plans(), Vec::new());
        self.change("writing a job's entry", put).await
    }

    pub(crate) async fn put_checkpoint(
        &self,
        job: JobId,
        id: CheckpointId,
        pointer: &[u8],
        keep: usize,
    ) -> Result<()> {
        let put = || self.put_checkpoint_once(job, id, pointer, keep);
        self.change("writing a pointer to a checkpoint", put).await
    }

    async fn put_checkpoint_once(
        &self,
        job: JobId,
        id: CheckpointId,
        pointer: &[u8],
        keep: usize,
    ) -> Result<(), ZkError> {
        let paths = &self.settings.paths;
        let directory = paths.checkpoints(job);
        let mut others = match self.client.list_children(&directory).await {
            Ok(names) => names.iter().filter_map(|name| checkpoint_of(name)).collect(),
            Err(ZkError::NoNode) => Vec::new(),
            Err(e) => return Err(e),
        };
        others.retain(|other| *other != id);
        others.sort();
        let outdated = others.len().saturating_sub(keep - 1);
        let outdated = others[..outdated].iter();
        // Curator's shared count: 32 bits.
        let counter = i32::try_from(id.0 + 1).unwrap_or(i32::MAX).to_be_bytes();
        self.put(
            vec![
                (paths.checkpoint(job, id), pointer.to_vec()),
                (paths.counter(job), counter.to_vec()),
            ],
            directory,
            outdated.map(|other| paths.checkpoint(job, *other)).collect(),
        )
        .await
    }

    /// Writes nodes and deletes others at once.
    async fn put(
        &self,
        nodes: Vec<(String, Vec<u8>)>,
        directory: String,
        deleted: Vec<String>,
    ) -> Result<(), ZkError> {
        let node = self.settings.node(CreateMode::Persistent);
        self.client.mkdir(&directory, &node).await?;
        let mut writer = self.writer()?;
        for (path, bytes) in &nodes {
            match self.client.check_stat(path).await? {
                Some(_) => writer.add_set_data(path, bytes, None)?,
                None => writer.add_create(path, bytes, &node)?,
            }
        }
        for path in &deleted {
            writer.add_delete(path, None)?;
        }
        writer.commit().await?;
        Ok(())
    }

    pub(crate) async fn remove_job(&self, job: JobId) -> Result<()> {
        let paths = &self.settings.paths;
        let remove = || self.remove(vec![paths.job(job), paths.plan(job)]);
        self.change("removing a job", remove).await
    }

    /// Deletes nodes with all that is below them at once.
    pub(super) async fn remove(&self, roots: Vec<String>) -> Result<(), ZkError> {
        let mut writer = self.writer()?;
        for root in &roots {
            for path in tree(&self.client, root).await? {
                writer.add_delete(&path, None)?;
            }
        }
        writer.commit().await?;
        Ok(())
    }
}
