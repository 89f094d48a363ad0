//! Back to a checkpoint: its files are shown, what else earlier attempts left is deleted.
//!
//! A file that was still written is cut to what the checkpoint holds and shown as well, as Flink does
//! where it cannot resume a file: the new attempt begins its own.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::PathBuf;

use millrace_connector_api::sink::{RecoverContext, Recovered};
use millrace_core::{Error, Result, failpoint};

use super::pending::{Pending, Shown, WriterState, seal, show, sync_folder};
use super::{part, run_tag};
use crate::listing::{self, unwritable};
use crate::options::Settings;

/// What the writers of all subtasks held.
fn all(states: &[Vec<u8>]) -> Result<WriterState> {
    let mut all = WriterState::default();
    for state in states {
        let state = WriterState::read(state)?;
        all.pending.extend(state.pending);
        all.growing.extend(state.growing);
    }
    Ok(all)
}

pub fn recover(settings: &Settings, context: &RecoverContext) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    let mut held = all(&context.restored)?;
    if let Some(newest) = &context.newest {
        // What the newest checkpoint does not hold any more was shown before.
        let newest = all(newest)?;
        let still_held: HashSet<Pending> = newest
            .pending
            .into_iter()
            .chain(newest.growing.into_iter().map(|g| g.file))
            .collect();
        held.pending.retain(|f| still_held.contains(f));
        held.growing.retain(|g| still_held.contains(&g.file));
    }
    if context.committed {
        held = WriterState::default();
    }
    failpoint::pass("recovery.before-commit");
    held.growing.iter().try_for_each(seal)?;
    let files: Vec<Pending> = held
        .pending
        .into_iter()
        .chain(held.growing.into_iter().map(|g| g.file))
        .collect();
    let mut folders = BTreeSet::new();
    for (i, file) in files.iter().enumerate() {
        if i > 0 {
            failpoint::pass("recovery.between-commits");
        }
        match show(file)? {
            Shown::Now => recovered.committed += 1,
            Shown::Before => recovered.repeated += 1,
            Shown::Missing => {
                return Err(Error::data_loss("a file of the restored checkpoint is missing")
                    .with_detail(format!(
                        "neither {} nor {}",
                        file.hidden.display(),
                        file.target.display()
                    ))
                    .with_hint("if it was shown before and moved away, put an empty file in its place"));
            }
        }
        folders.extend(file.target.parent().map(PathBuf::from));
    }
    folders.iter().try_for_each(|f| sync_folder(f))?;
    failpoint::pass("recovery.after-commit");
    failpoint::pass("recovery.before-fence");
    recovered.fenced = delete_leftovers(settings, context)?;
    failpoint::pass("recovery.after-fence");
    Ok(recovered)
}

/// Deletes hidden files of this sink's earlier attempts: all that were to be shown have been.
fn delete_leftovers(settings: &Settings, context: &RecoverContext) -> Result<u64> {
    let mut attempts = HashSet::new();
    for record in &context.earlier_attempts {
        let number = std::str::from_utf8(record)
            .ok()
            .and_then(|t| t.parse::<u64>().ok());
        attempts
            .insert(number.ok_or_else(|| Error::user("the record of an earlier attempt cannot be read"))?);
    }
    if attempts.is_empty() {
        return Ok(0);
    }
    let run = run_tag(&context.config, &context.uid);
    let mut deleted = 0;
    for file in listing::hidden(&settings.path)? {
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if part::attempt_of(name, &run).is_some_and(|a| attempts.contains(&a)) {
            match fs::remove_file(&file) {
                Ok(()) => deleted += 1,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(unwritable(&file, e)),
            }
        }
    }
    Ok(deleted)
}
