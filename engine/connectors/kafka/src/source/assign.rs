//! Which subtask reads which partition: Flink's rule (`KafkaSourceEnumerator.getSplitOwner`).

/// Java's `String.hashCode`, over UTF-16 units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The subtask that reads a partition. Partitions of a topic go round from a subtask that the
/// topic's name chooses, so that topics do not all begin at subtask 0.
pub fn subtask(topic: &str, partition: i32, parallelism: usize) -> usize {
    let start = (java_hash(topic).wrapping_mul(31) & 0x7FFF_FFFF) as usize % parallelism;
    (start + partition as usize) % parallelism
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("orders"), -1_008_770_331);
        assert_eq!(java_hash("flights"), -771_814_909);
        assert_eq!(java_hash("ä😀"), 228 * 31 * 31 + 0xD83D * 31 + 0xDE00);
    }

    #[test]
    fn every_partition_has_one_reader_and_they_go_round() {
        for parallelism in 1..6 {
            for partition in 0..10 {
                let owner = subtask("orders", partition, parallelism);
                assert!(owner < parallelism);
                assert_eq!(
                    subtask("orders", partition + 1, parallelism),
                    (owner + 1) % parallelism
                );
            }
        }
        // (hash * 31 as i32) & 0x7fffffff, modulo 4
        let start = ((-1_008_770_331i32).wrapping_mul(31) & 0x7FFF_FFFF) as usize % 4;
        assert_eq!(subtask("orders", 0, 4), start);
    }
}
