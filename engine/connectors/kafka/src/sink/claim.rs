//! Two writers of one process with the same transactional ids would fence one another for ever.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_core::{Error, Result};

static CLAIMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn claimed() -> MutexGuard<'static, BTreeSet<String>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ids of one subtask, until it is dropped.
pub struct Claim(String);

impl Claim {
    /// `cluster` are the bootstrap servers, `ids` what all of the subtask's ids begin with.
    pub fn new(table: &str, cluster: &str, ids: &str) -> Result<Claim> {
        let name = format!("{cluster}/{ids}");
        if !claimed().insert(name.clone()) {
            return Err(Error::user("two sinks of this job have the same transactional ids")
                .with_detail(format!("table '{table}': ids '{ids}...'"))
                .with_hint(
                    "give each table its own 'sink.transactional-id-prefix', and write to a table with one INSERT \
                     (UNION ALL joins queries)",
                ));
        }
        Ok(Claim(name))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claimed().remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_claimed_once_at_a_time() {
        let first = Claim::new("t", "here", "claims-1-0-").unwrap();
        let e = Claim::new("u", "here", "claims-1-0-").err().unwrap();
        assert!(e.to_string().contains("'claims-1-0-...'"), "{e}");
        assert!(Claim::new("t", "there", "claims-1-0-").is_ok(), "another cluster");
        drop(first);
        assert!(Claim::new("u", "here", "claims-1-0-").is_ok());
    }
}
