//! Numbers that follow from a seed: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
//! generators", 2014), which stays what it is whatever becomes of a library.

use std::ops::Range;

#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A stream of its own for each use, so that one more number here changes nothing there.
    pub fn part(&self, number: u64) -> Random {
        let mut part = Random(self.0 ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        part.next();
        part
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the range, which is not empty.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// True in so many of a thousand.
    pub fn chance(&mut self, of_thousand: u64) -> bool {
        self.next() % 1000 < of_thousand
    }

    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        match from.len() {
            0 => None,
            len => from.get(self.range(0..len as u64) as usize),
        }
    }

    /// A time up to `most`, mostly far below it.
    pub fn skewed(&mut self, most: u64) -> u64 {
        let shift = self.next() % 8;
        self.next() % (most.max(1) >> shift).max(1)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            piece.copy_from_slice(&number[..piece.len()]);
        }
    }
}
