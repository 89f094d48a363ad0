//! Up to where windows by the clock have been given when a checkpoint was taken. Slices that later windows need stay
//! behind, and what they had a part in must not be given again. Subtasks do not look at the clock at the same moment:
//! after a rescale each key group has a time of its own.

use std::ops::Range;

use millrace_core::{Error, Result};

pub(super) struct Given {
    groups: Range<u16>,
    /// Of each of the key groups. None has given anything where it is empty.
    up_to: Vec<i64>,
}

/// Bytes of a subtask's key groups, at the end of its entry.
const GROUPS: usize = 4;

impl Given {
    /// `entries` are those of all subtasks that a checkpoint has: a time, and at the end the key groups that it is of.
    pub fn restored(groups: Range<u16>, entries: &[Vec<u8>]) -> Result<Given> {
        let mut up_to = match entries {
            [] => Vec::new(),
            _ => vec![i64::MIN; groups.len()],
        };
        for entry in entries {
            let (time, theirs) = read(entry)
                .ok_or_else(|| Error::data_loss("the stored time of a window has another form"))?;
            let shared = theirs.start.max(groups.start)..theirs.end.min(groups.end);
            for group in shared {
                up_to[usize::from(group - groups.start)] = time;
            }
        }
        Ok(Given { groups, up_to })
    }

    /// Behind a time.
    pub fn write(groups: &Range<u16>, out: &mut Vec<u8>) {
        out.extend_from_slice(&groups.start.to_be_bytes());
        out.extend_from_slice(&groups.end.to_be_bytes());
    }

    /// What all key groups have given.
    pub fn by_all(&self) -> i64 {
        self.up_to.iter().copied().min().unwrap_or(i64::MIN)
    }

    /// What any of them has given.
    pub fn by_any(&self) -> i64 {
        self.up_to.iter().copied().max().unwrap_or(i64::MIN)
    }

    /// Whether a key group has given what is over at a time.
    pub fn has(&self, group: u16, over_at: i64) -> bool {
        let at = usize::from(group - self.groups.start);
        self.up_to.get(at).is_some_and(|up_to| over_at <= *up_to)
    }
}

fn read(entry: &[u8]) -> Option<(i64, Range<u16>)> {
    let (time, rest) = entry.split_first_chunk()?;
    let (_, groups) = rest.split_last_chunk::<GROUPS>()?;
    let [a, b, c, d] = *groups;
    Some((
        i64::from_be_bytes(*time),
        u16::from_be_bytes([a, b])..u16::from_be_bytes([c, d]),
    ))
}
