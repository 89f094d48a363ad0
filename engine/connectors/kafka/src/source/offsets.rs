//! Where reading begins and ends, as concrete offsets.

use std::collections::BTreeMap;

use millrace_core::{Error, Result};

use crate::admin::{Questions, TopicPartition};
use crate::options::{Bounded, Startup};
use crate::properties::Properties;

/// First offsets to read of partitions at a fresh start.
pub fn starting(
    cluster: &dyn Questions,
    properties: &Properties,
    startup: &Startup,
    partitions: &[TopicPartition],
) -> Result<Vec<i64>> {
    match startup {
        Startup::Earliest => cluster.earliest(partitions),
        Startup::Latest => cluster.latest(partitions),
        Startup::Timestamp(at) => cluster.at_time(partitions, *at),
        Startup::Specific(offsets) => specific(cluster, offsets, partitions),
        Startup::Group => {
            let reset = properties
                .get("auto.offset.reset")
                .map(|r| r.trim().to_ascii_lowercase());
            committed(cluster, partitions, |missing| match reset.as_deref() {
                Some("earliest") => cluster.earliest(missing),
                Some("latest") => cluster.latest(missing),
                _ => Err(Error::user("the group has no committed offset to start from")
                    .with_detail(no_offset(cluster, missing))
                    .with_hint(
                        "set 'properties.auto.offset.reset' to earliest or latest for partitions without \
                         one, or choose another 'scan.startup.mode'",
                    )),
            })
        }
    }
}

/// Offsets that are not read any more; none if the read is unbounded.
pub fn stopping(
    cluster: &dyn Questions,
    bounded: &Bounded,
    partitions: &[TopicPartition],
) -> Result<Vec<Option<i64>>> {
    let offsets = match bounded {
        Bounded::Unbounded => return Ok(vec![None; partitions.len()]),
        Bounded::Latest => cluster.latest(partitions),
        Bounded::Timestamp(at) => cluster.at_time(partitions, *at),
        Bounded::Specific(offsets) => specific(cluster, offsets, partitions),
        Bounded::Group => committed(cluster, partitions, |missing| {
            Err(Error::user("the group has no committed offset to end at")
                .with_detail(no_offset(cluster, missing))
                .with_hint("choose another 'scan.bounded.mode'"))
        }),
    };
    Ok(offsets?.into_iter().map(Some).collect())
}

fn no_offset(cluster: &dyn Questions, missing: &[TopicPartition]) -> String {
    let names: Vec<_> = missing.iter().take(5).map(|(t, p)| format!("{t}-{p}")).collect();
    let more = if missing.len() > names.len() {
        " and more"
    } else {
        ""
    };
    format!(
        "group '{}', {}{more}",
        cluster.group().unwrap_or_default(),
        names.join(", ")
    )
}

/// Committed offsets, and what `others` says of the partitions that have none.
fn committed(
    cluster: &dyn Questions,
    partitions: &[TopicPartition],
    others: impl Fn(&[TopicPartition]) -> Result<Vec<i64>>,
) -> Result<Vec<i64>> {
    let found = cluster.committed(partitions)?;
    let missing: Vec<_> = partitions
        .iter()
        .zip(&found)
        .filter(|(_, o)| o.is_none())
        .map(|(p, _)| p.clone())
        .collect();
    let mut filled = if missing.is_empty() {
        Vec::new()
    } else {
        others(&missing)?
    }
    .into_iter();
    Ok(found
        .into_iter()
        .map(|o| o.or_else(|| filled.next()).unwrap_or(0))
        .collect())
}

/// As Flink: a partition that is not named takes the group's offset, else its first.
fn specific(
    cluster: &dyn Questions,
    offsets: &BTreeMap<i32, i64>,
    partitions: &[TopicPartition],
) -> Result<Vec<i64>> {
    let others: Vec<_> = partitions
        .iter()
        .filter(|(_, p)| !offsets.contains_key(p))
        .cloned()
        .collect();
    let mut found = match cluster.group() {
        Some(_) => committed(cluster, &others, |missing| cluster.earliest(missing))?,
        None => cluster.earliest(&others)?,
    }
    .into_iter();
    Ok(partitions
        .iter()
        .map(|(_, p)| offsets.get(p).copied().or_else(|| found.next()).unwrap_or(0))
        .collect())
}
