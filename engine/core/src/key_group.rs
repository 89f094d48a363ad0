//! Key groups: the units in which keyed state is spread over subtasks, and moved when there are
//! more or fewer of them.
//!
//! A key's group is a function of its encoded bytes and the job's max parallelism alone, so every
//! sender, every restore and every architecture agrees on it. The vectors in this file's tests pin
//! it: another value would give a key's rows to one subtask and its state to another.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// The hash of an encoded key (`row::RowCodec`). It travels with the key, to be computed once.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The key group of a hash, below `max_parallelism`.
pub fn of_hash(hash: u64, max_parallelism: u16) -> u16 {
    // The upper bits, scaled down: hash tables take the lower ones.
    ((u128::from(hash) * u128::from(max_parallelism)) >> 64) as u16
}

/// The subtask of a key group: groups are given out in contiguous ranges, as in Flink.
pub fn subtask(group: u16, parallelism: usize, max_parallelism: u16) -> usize {
    usize::from(group) * parallelism / usize::from(max_parallelism.max(1))
}

/// The key groups of a subtask.
pub fn range(subtask: usize, parallelism: usize, max_parallelism: u16) -> Range<u16> {
    let max = usize::from(max_parallelism);
    let start = |subtask: usize| (subtask * max).div_ceil(parallelism.max(1)) as u16;
    start(subtask)..start(subtask + 1)
}

/// Flink's default of `pipeline.max-parallelism`: one and a half times the parallelism, rounded up
/// to a power of two, from 128 to 32768.
pub fn default_max_parallelism(parallelism: usize) -> u16 {
    let wanted = parallelism.saturating_add(parallelism / 2);
    wanted
        .checked_next_power_of_two()
        .unwrap_or(1 << 15)
        .clamp(128, 1 << 15) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_one_subtask() {
        for max in [1, 7, 128, 4096, 32768] {
            for parallelism in [1, 2, 3, 5, 7, 100] {
                if parallelism > usize::from(max) {
                    continue;
                }
                let mut next = 0;
                for s in 0..parallelism {
                    let range = range(s, parallelism, max);
                    assert_eq!(range.start, next);
                    assert!(range.clone().all(|g| subtask(g, parallelism, max) == s));
                    next = range.end;
                }
                assert_eq!(next, max);
            }
        }
    }

    #[test]
    fn hashes_and_groups_are_these_for_ever() {
        let of = |key: &[u8]| (hash(key), of_hash(hash(key), 128), of_hash(hash(key), 32768));
        assert_eq!(of(b""), (0x2d06_8005_38d3_94c2, 22, 5763));
        assert_eq!(
            of(&[1, 0x80, 0, 0, 0, 0, 0, 0, 42]),
            (0x5bf7_6a38_8e4a_df0a, 45, 11771)
        );
        assert_eq!(of(b"\x01carrier\0\0"), (0x67be_970e_36d9_7230, 51, 13279));
    }

    #[test]
    fn the_default_is_flinks() {
        for (parallelism, max) in [(1, 128), (85, 128), (86, 256), (128, 256), (30_000, 32768)] {
            assert_eq!(default_max_parallelism(parallelism), max, "{parallelism}");
        }
    }
}
