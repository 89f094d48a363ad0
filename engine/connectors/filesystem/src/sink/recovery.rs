//! Back to a checkpoint: its files are shown, what else earlier attempts left is deleted.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::PathBuf;

use millrace_connector_api::sink::{RecoverContext, Recovered};
use millrace_core::{Error, Result, failpoint};

use super::pending::{Pending, Shown, WriterState, show, sync_folder};
use super::{part, run_tag};
use crate::listing::{self, unwritable};
use crate::options::Settings;

fn all(states: &[Vec<u8>]) -> Result<Vec<Pending>> {
    let mut files = Vec::new();
    for state in states {
        files.extend(WriterState::read(state)?);
    }
    Ok(files)
}

pub fn recover(settings: &Settings, context: &RecoverContext) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    let mut files = all(&context.restored)?;
    if let Some(newest) = &context.newest {
        // What the newest checkpoint does not hold any more was shown before.
        let newest: HashSet<Pending> = all(newest)?.into_iter().collect();
        files.retain(|f| newest.contains(f));
    }
    if context.committed {
        files.clear();
    }
    let mut folders = BTreeSet::new();
    failpoint::pass("recovery.before-commit");
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
