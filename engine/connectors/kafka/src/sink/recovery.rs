//! What happens to transactions of earlier attempts before a new one begins.
//!
//! First all commits, in the order of checkpoints, then all fencing; and never an id that has a
//! handle to commit, for InitProducerId would raise its epoch, and a recovery that crashes is run
//! again with the same handles. So each step can be repeated: EndTxn of what is committed says so,
//! and fencing fences once more. (Why the ids that are left unfenced do no harm: `exactly_once`.)

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use millrace_connector_api::sink::Recovered;
use millrace_core::{Error, ErrorKind, Result, failpoint};
use millrace_kafka_wire::{Admin, END_TXN_V1, EndTxn, Transaction, TransactionDescription, TransactionState};
use tokio::task::JoinSet;

use super::state::{AttemptRecord, Prepared, WriterState, attempt_of};
use crate::writer::Protocol;

/// Calls that fence at the same time.
const CONCURRENT: usize = 16;
/// Of the transaction that nobody will begin on a fenced id; shorter where the sink's own is.
const FENCING_TIMEOUT: Duration = Duration::from_secs(60);

/// What recovery is to do, before a broker is asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To commit, oldest checkpoint first.
    pub commit: Vec<Prepared>,
    /// Committed before, by the job's own record; committed now if they are seen to be open still.
    pub done: Vec<Prepared>,
    /// Neither held by our newest checkpoint nor known to be committed, for the checkpoint is
    /// another folder's: the coordinator has to show that they were, or commit them now.
    pub unproven: Vec<Prepared>,
    /// Ids to fence if they exist.
    pub fence: BTreeSet<String>,
    /// Prefixes under which stragglers are looked for, with the newest attempt known of each.
    pub prefixes: BTreeMap<String, Option<u64>>,
}

/// What is known of the restored handles.
#[derive(Debug, Clone, Copy, Default)]
pub struct Proof<'a> {
    /// All of them were committed before.
    pub committed: bool,
    /// The state of the newest complete checkpoint where an older one is restored: what `restored`
    /// holds and it does not was committed; what only it holds is aborted.
    pub newest: Option<&'a [WriterState]>,
    /// The restored checkpoint is not one of ours, so that ours do not hold it proves nothing.
    pub elsewhere: bool,
}

impl Plan {
    pub fn new(
        prefix: Option<&str>,
        restored: &[WriterState],
        proof: Proof<'_>,
        earlier: &[AttemptRecord],
    ) -> Plan {
        let all = |states: &[WriterState]| -> Vec<Prepared> {
            states.iter().flat_map(|s| s.prepared.iter().cloned()).collect()
        };
        let restored = all(restored);
        let newest = proof.newest.map(all);
        let (mut commit, done): (Vec<Prepared>, Vec<Prepared>) = restored
            .iter()
            .cloned()
            .partition(|p| !proof.committed && newest.as_ref().is_none_or(|newest| newest.contains(p)));
        let (unproven, done) = match proof.elsewhere && !proof.committed {
            true => (done, Vec::new()),
            false => (Vec::new(), done),
        };
        // Within a writer the order is kept; between writers only that of checkpoints matters.
        commit.sort_by_key(|p| p.checkpoint);
        let kept: HashSet<&str> = commit
            .iter()
            .map(|p| p.handle.transactional_id.as_str())
            .collect();
        let mut fence: BTreeSet<String> = earlier
            .iter()
            .flat_map(AttemptRecord::transactional_ids)
            .collect();
        fence.extend(
            restored
                .iter()
                .chain(newest.iter().flatten())
                .map(|p| p.handle.transactional_id.clone()),
        );
        fence.retain(|id| !kept.contains(id.as_str()));
        let mut prefixes: BTreeMap<String, Option<u64>> =
            prefix.map(|p| (p.to_owned(), None)).into_iter().collect();
        for record in earlier {
            let newest = prefixes.entry(record.prefix.clone()).or_default();
            *newest = (*newest).max(Some(record.attempt));
        }
        Plan {
            commit,
            done,
            unproven,
            fence,
            prefixes,
        }
    }
}

/// `may_lose`: what can no longer be committed is reported and given up.
pub async fn run(admin: &Admin, plan: Plan, timeout: Duration, may_lose: bool) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    let mut fence = plan.fence;
    let mut kept: HashSet<String> = HashSet::new();
    let all = plan.commit.iter().chain(&plan.done).chain(&plan.unproven);
    let ids: Vec<String> = all.map(|p| p.handle.transactional_id.clone()).collect();
    let known = admin.describe_transactions(&ids).await?;
    let mut commits = plan.commit;
    commits.extend(
        plan.done
            .into_iter()
            .filter(|p| is_open(p, known.get(&p.handle.transactional_id))),
    );
    commits.extend(
        plan.unproven
            .into_iter()
            .filter(|p| !is_committed(p, known.get(&p.handle.transactional_id))),
    );
    commits.sort_by_key(|p| p.checkpoint);
    if !commits.is_empty() {
        failpoint::pass("recovery.before-commit");
    }
    for (i, prepared) in commits.iter().enumerate() {
        if i > 0 {
            failpoint::pass("recovery.between-commits");
        }
        let id = &prepared.handle.transactional_id;
        if is_succeeded(prepared, known.get(id)) {
            tracing::warn!(
                transactional_id = id,
                checkpoint = prepared.checkpoint.0,
                "a transaction of the restored checkpoint was committed long ago; its id has a newer one, which is aborted"
            );
            fence.insert(id.clone());
            continue;
        }
        match commit(admin, prepared, known.get(id)).await {
            Err(error) if may_lose && error.kind() == ErrorKind::DataLoss => {
                tracing::error!(%error, "output of a complete checkpoint is given up");
                recovered.lost += 1;
                fence.insert(id.clone());
            }
            other => {
                // Repeated, it says that it is done: only the first time something was recovered.
                match is_committed(prepared, known.get(id)) {
                    true => recovered.repeated += 1,
                    false => recovered.committed += 1,
                }
                other?;
                kept.insert(id.clone());
            }
        }
    }
    let decided: Vec<String> = kept.iter().cloned().collect();
    if let Err(error) = admin.await_markers(&decided).await {
        tracing::warn!(%error, "recovered commits are not visible everywhere yet");
    }
    if !commits.is_empty() {
        failpoint::pass("recovery.after-commit");
    }
    // To fence what was committed now would make this recovery impossible to repeat.
    fence.retain(|id| !kept.contains(id));
    recovered.fenced = fence_all(admin, fence, &kept, &plan.prefixes, timeout).await?;
    tracing::info!(
        committed = recovered.committed,
        repeated = recovered.repeated,
        fenced = recovered.fenced,
        "Kafka sink recovered"
    );
    Ok(recovered)
}

/// Whether the handle's very transaction is open.
fn is_open(prepared: &Prepared, known: Option<&TransactionDescription>) -> bool {
    let handle = &prepared.handle;
    known.is_some_and(|t| {
        t.state == TransactionState::Ongoing
            && (t.producer_id, t.epoch, t.start_time) == (handle.producer_id, handle.epoch, handle.start_time)
    })
}

/// Whether the handle's very transaction was the id's last one, and was committed.
fn is_committed(prepared: &Prepared, known: Option<&TransactionDescription>) -> bool {
    let handle = &prepared.handle;
    known.is_some_and(|t| {
        t.state == TransactionState::CompleteCommit
            && (t.producer_id, t.epoch, t.start_time) == (handle.producer_id, handle.epoch, handle.start_time)
    })
}

/// Whether the id's transaction is a later one than the handle's. An id is used again only after
/// its commit was confirmed, so the handle's is committed, and a commit would hit the later one.
fn is_succeeded(prepared: &Prepared, known: Option<&TransactionDescription>) -> bool {
    let handle = &prepared.handle;
    known.is_some_and(|t| {
        (t.producer_id, t.epoch) == (handle.producer_id, handle.epoch) && t.start_time > handle.start_time
    })
}

async fn commit(admin: &Admin, prepared: &Prepared, known: Option<&TransactionDescription>) -> Result<()> {
    let handle = &prepared.handle;
    let transaction = Transaction {
        transactional_id: handle.transactional_id.clone(),
        producer_id: handle.producer_id,
        epoch: handle.epoch,
    };
    let newest = match handle.protocol {
        Protocol::V1 => END_TXN_V1,
    };
    match admin.end_txn(&transaction, newest, true).await? {
        EndTxn::Done => Ok(()),
        outcome => Err(lost(format!(
            "transactional id '{}', producer id {}, epoch {}, of checkpoint {}: {outcome:?}; the coordinator knew {}",
            handle.transactional_id,
            handle.producer_id,
            handle.epoch,
            prepared.checkpoint,
            known.map_or("nothing of it".to_owned(), |t| format!(
                "{:?} with producer id {} and epoch {}",
                t.state, t.producer_id, t.epoch
            )),
        ))),
    }
}

/// A transaction of a complete checkpoint that cannot be committed.
pub fn lost(detail: String) -> Error {
    Error::data_loss("a Kafka transaction of a complete checkpoint can no longer be committed: its records are lost")
        .with_detail(detail)
        .with_hint(
            "it was most likely open for longer than 'properties.transaction.timeout.ms': raise that above the longest \
             time that the job may be down. To write the records again, restore the checkpoint before this one \
             with --from, if it is retained; to go on without them, set millrace.recovery.lost-output to ignore, \
             or start anew with --fresh",
        )
}

async fn fence_all(
    admin: &Admin,
    fence: BTreeSet<String>,
    kept: &HashSet<String>,
    prefixes: &BTreeMap<String, Option<u64>>,
    timeout: Duration,
) -> Result<u64> {
    // Ids that were reserved and never used are unknown to the brokers. A zombie may still open one:
    // to fence it now would not hinder that. What it writes there is never committed, and the next
    // recovery, or the transaction's timeout, aborts it.
    let fence: Vec<String> = fence.into_iter().collect();
    let mut ids: BTreeSet<String> = admin.describe_transactions(&fence).await?.into_keys().collect();
    for (prefix, newest) in prefixes {
        // What stands in no record is looked for as well. One broker that does not answer must not
        // keep the job from running for that: `stragglers` looks again.
        match open_of(admin, prefix, |attempt| {
            newest.is_none_or(|newest| attempt <= newest)
        })
        .await
        {
            Ok(found) => ids.extend(found.into_iter().filter(|id| !kept.contains(id))),
            Err(error) => tracing::warn!(prefix, %error, "not all brokers listed their transactions"),
        }
    }
    if ids.is_empty() {
        return Ok(0);
    }
    failpoint::pass("recovery.before-fence");
    let fenced = fence_ids(admin, ids, timeout).await?;
    failpoint::pass("recovery.after-fence");
    Ok(fenced)
}

/// Aborts what attempts before this one have open under the prefix.
pub async fn fence_stragglers(admin: &Admin, prefix: &str, attempt: u64) -> Result<u64> {
    let open = open_of(admin, prefix, |other| other < attempt).await?;
    fence_ids(admin, open, FENCING_TIMEOUT).await
}

/// Ids of open transactions under a prefix whose attempt is one of those that are meant.
async fn open_of(admin: &Admin, prefix: &str, is_meant: impl Fn(u64) -> bool) -> Result<BTreeSet<String>> {
    let listed = admin.list_transactions(&format!("{prefix}-")).await?;
    let open = listed.into_iter().filter(|listed| {
        let is_open = matches!(
            listed.state,
            TransactionState::Ongoing
                | TransactionState::PrepareCommit
                | TransactionState::PrepareAbort
                | TransactionState::PrepareEpochFence
        );
        // Ids of later attempts than those known are another run's, newer than this one.
        is_open && attempt_of(prefix, &listed.transactional_id).is_some_and(&is_meant)
    });
    Ok(open.map(|listed| listed.transactional_id).collect())
}

/// Initialises the ids anew, which aborts and fences; gives how many.
async fn fence_ids(admin: &Admin, ids: BTreeSet<String>, timeout: Duration) -> Result<u64> {
    let timeout = timeout.min(FENCING_TIMEOUT);
    let mut running: JoinSet<Result<()>> = JoinSet::new();
    let mut fenced = 0;
    for id in ids {
        if running.len() >= CONCURRENT
            && let Some(done) = running.join_next().await
        {
            settle(done)?;
            fenced += 1;
        }
        let admin = admin.clone();
        running.spawn(async move {
            let (producer_id, epoch) = admin.init_producer_id(&id, timeout).await?;
            tracing::debug!(transactional_id = id, producer_id, epoch, "fenced");
            Ok(())
        });
    }
    while let Some(done) = running.join_next().await {
        settle(done)?;
        fenced += 1;
    }
    Ok(fenced)
}

fn settle(done: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    done.map_err(|e| Error::internal("a task of the Kafka sink's recovery died").with_source(e))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Handle;
    use millrace_core::CheckpointId;

    fn prepared(checkpoint: u64, id: &str) -> Prepared {
        Prepared {
            checkpoint: CheckpointId(checkpoint),
            handle: Handle {
                transactional_id: id.to_owned(),
                producer_id: 7,
                epoch: 0,
                start_time: checkpoint as i64,
                protocol: Protocol::V1,
            },
        }
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.commit
            .iter()
            .map(|p| p.handle.transactional_id.as_str())
            .collect()
    }

    #[test]
    fn commits_in_order_of_checkpoints_and_fences_the_rest() {
        let restored = [
            WriterState::new(vec![prepared(3, "p-1-0-0"), prepared(5, "p-1-0-1")]),
            WriterState::new(vec![prepared(4, "p-1-1-0")]),
        ];
        let plan = Plan::new(
            Some("p"),
            &restored,
            Proof::default(),
            &[AttemptRecord::new("p", 1, 2, 2)],
        );
        assert_eq!(ids(&plan), ["p-1-0-0", "p-1-1-0", "p-1-0-1"]);
        assert_eq!(plan.fence.into_iter().collect::<Vec<_>>(), ["p-1-1-1"]);
        assert_eq!(plan.prefixes, BTreeMap::from([("p".to_owned(), Some(1))]));
    }

    #[test]
    fn an_older_checkpoint_commits_nothing_that_the_newest_does_not_hold() {
        let restored = [WriterState::new(vec![
            prepared(3, "p-1-0-0"),
            prepared(5, "p-1-0-1"),
        ])];
        // The newest still holds one; the other's id was used again for checkpoint 9.
        let newest = [WriterState::new(vec![
            prepared(5, "p-1-0-1"),
            prepared(9, "p-1-0-0"),
        ])];
        let mut proof = Proof {
            newest: Some(&newest),
            ..Proof::default()
        };
        let plan = Plan::new(Some("p"), &restored, proof, &[]);
        assert_eq!(ids(&plan), ["p-1-0-1"]);
        assert_eq!(plan.fence.into_iter().collect::<Vec<_>>(), ["p-1-0-0"]);
        assert!(plan.unproven.is_empty());
        // Another folder's checkpoint is not decided by what ours hold.
        proof.elsewhere = true;
        let plan = Plan::new(Some("p"), &restored, proof, &[]);
        assert_eq!(plan.unproven, [prepared(3, "p-1-0-0")]);
        assert!(plan.done.is_empty());
    }

    #[test]
    fn a_clean_stop_leaves_nothing_to_commit() {
        let restored = [WriterState::new(vec![prepared(3, "p-1-0-0")])];
        let proof = Proof {
            committed: true,
            ..Proof::default()
        };
        let plan = Plan::new(Some("p"), &restored, proof, &[]);
        assert!(plan.commit.is_empty());
        assert_eq!(plan.fence.into_iter().collect::<Vec<_>>(), ["p-1-0-0"]);
    }

    #[test]
    fn a_later_transaction_of_the_same_id_is_not_the_handles() {
        let known = |start_time, epoch| TransactionDescription {
            state: TransactionState::Ongoing,
            producer_id: 7,
            epoch,
            timeout: Duration::from_secs(60),
            start_time,
            partitions: Vec::new(),
        };
        assert!(!is_succeeded(&prepared(3, "a"), Some(&known(3, 0))));
        assert!(is_succeeded(&prepared(3, "a"), Some(&known(4, 0))));
        assert!(
            !is_succeeded(&prepared(3, "a"), Some(&known(4, 1))),
            "fenced, not succeeded"
        );
        assert!(!is_succeeded(&prepared(3, "a"), None));
        assert!(is_open(&prepared(3, "a"), Some(&known(3, 0))));
        assert!(!is_open(&prepared(3, "a"), Some(&known(4, 0))));
        assert!(!is_open(&prepared(3, "a"), None));
    }
}
