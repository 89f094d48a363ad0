//! What is wrong with an output: pure, so that it is tested itself.

use std::collections::HashMap;

use crate::findings::{Findings, Kind};

/// One record of the input, as its producer counted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub id: u64,
    pub key: u32,
    /// Grows by one from record to record of a key.
    pub sequence: u64,
}

/// One record of the output, where a read_committed reader saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub sent: Sent,
    pub partition: i32,
    pub offset: i64,
}

/// Compares; `received` is in offset order within each partition.
pub fn check(sent: &[Sent], received: &[Received]) -> Findings {
    let mut findings = Findings::default();
    let expected: HashMap<u64, &Sent> = sent.iter().map(|s| (s.id, s)).collect();
    let mut seen: HashMap<u64, u32> = HashMap::with_capacity(sent.len());
    let mut last: HashMap<u32, &Received> = HashMap::new();
    for record in received {
        if expected.get(&record.sent.id) != Some(&&record.sent) {
            findings.add(Kind::Invented, place(record));
            continue;
        }
        let times = seen.entry(record.sent.id).or_default();
        *times += 1;
        if *times > 1 {
            // A repetition says nothing about order.
            findings.add(Kind::Repeated, place(record));
            continue;
        }
        if let Some(before) = last.insert(record.sent.key, record) {
            if before.partition != record.partition {
                let (key, a, b) = (record.sent.key, before.partition, record.partition);
                findings.add(Kind::Scattered, format!("key {key} in {a} and {b}"));
            } else if before.sent.sequence >= record.sent.sequence {
                let swapped = format!("{} after {}", place(record), place(before));
                findings.add(Kind::Swapped, swapped);
            }
        }
    }
    for lost in sent.iter().filter(|s| !seen.contains_key(&s.id)) {
        findings.add(Kind::Lost, name(lost));
    }
    findings
}

fn place(r: &Received) -> String {
    format!("{} at {}-{}", name(&r.sent), r.partition, r.offset)
}

fn name(sent: &Sent) -> String {
    format!("id {} (key {}, number {})", sent.id, sent.key, sent.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forty records over four keys, each key in a partition of its own.
    fn input() -> Vec<Sent> {
        (0..40)
            .map(|id| Sent {
                id,
                key: (id % 4) as u32,
                sequence: id / 4,
            })
            .collect()
    }

    fn output(sent: &[Sent]) -> Vec<Received> {
        let mut offsets = HashMap::new();
        let mut received: Vec<Received> = sent
            .iter()
            .map(|s| {
                let partition = s.key as i32;
                let offset = offsets.entry(partition).or_insert(0);
                *offset += 1;
                Received {
                    sent: s.clone(),
                    partition,
                    offset: *offset,
                }
            })
            .collect();
        received.sort_by_key(|r| (r.partition, r.offset));
        received
    }

    #[test]
    fn the_input_once_in_order_is_clean() {
        assert!(check(&input(), &output(&input())).is_clean());
    }

    #[test]
    fn a_dropped_record_is_reported_with_its_id() {
        let sent = input();
        let kept: Vec<Sent> = sent.iter().filter(|s| s.id != 17).cloned().collect();
        let findings = check(&sent, &output(&kept));
        assert_eq!(findings.to_string(), "1 lost:\n  id 17 (key 1, number 4)\n");
    }

    #[test]
    fn a_repeated_record_is_reported_with_its_place() {
        let sent = input();
        let mut received = output(&sent);
        let again = received.iter().find(|r| r.sent.id == 22).unwrap().clone();
        received.push(Received { offset: 99, ..again });
        let findings = check(&sent, &received);
        assert_eq!(
            findings.to_string(),
            "1 repeated:\n  id 22 (key 2, number 5) at 2-99\n"
        );
    }

    #[test]
    fn swapped_records_are_reported_with_both_ids() {
        let sent = input();
        let mut received = output(&sent);
        let (a, b) = (3, 4);
        let first = received[a].sent.clone();
        received[a].sent = received[b].sent.clone();
        received[b].sent = first;
        let findings = check(&sent, &received);
        assert_eq!(
            findings.to_string(),
            "1 out of order:\n  id 12 (key 0, number 3) at 0-5 after id 16 (key 0, number 4) at 0-4\n"
        );
    }

    #[test]
    fn a_record_that_nobody_sent_and_an_altered_one_are_reported() {
        let sent = input();
        let mut received = output(&sent);
        received[0].sent.id = 1000;
        received[1].sent.sequence += 7;
        let findings = check(&sent, &received);
        assert_eq!(findings.of(Kind::Invented).len(), 2);
        assert_eq!(findings.of(Kind::Lost).len(), 2);
    }

    #[test]
    fn a_key_in_two_partitions_is_reported() {
        let sent = input();
        let mut received = output(&sent);
        received[5].partition = 3;
        assert!(!check(&sent, &received).of(Kind::Scattered).is_empty());
    }

    #[test]
    fn a_replayed_range_is_repeated_and_not_out_of_order() {
        let sent = input();
        let mut received = output(&sent);
        let range: Vec<Received> = received[4..8].to_vec();
        received.splice(8..8, range);
        let findings = check(&sent, &received);
        assert_eq!(findings.of(Kind::Repeated).len(), 4);
        assert!(findings.of(Kind::Swapped).is_empty());
    }
}
