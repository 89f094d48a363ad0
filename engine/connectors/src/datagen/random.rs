//! Random numbers that are a function of a seed: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).

pub struct Random(u64);

impl Random {
    /// The numbers of one row's column.
    pub fn of(seed: u64, row: u64, column: u64) -> Self {
        let mut mixed = Random(seed ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let base = mixed.next();
        Random(base ^ column.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `min` to `max`, both included; `min` where they are the wrong way round.
    pub fn integer(&mut self, min: i64, max: i64) -> i64 {
        let span = (i128::from(max) - i128::from(min)).max(0) as u128 + 1;
        let offset = (u128::from(self.next()) * span) >> 64;
        (i128::from(min) + offset as i128) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_its_range_and_repeats() {
        for row in 0..1000 {
            let mut r = Random::of(7, row, 1);
            let v = r.integer(-3, 5);
            assert!((-3..=5).contains(&v));
            assert_eq!(Random::of(7, row, 1).integer(-3, 5), v);
            assert!((0.0..1.0).contains(&r.unit()));
        }
        let mut r = Random::of(1, 2, 3);
        r.integer(i64::MIN, i64::MAX);
        assert_eq!(r.integer(4, 4), 4);
    }
}
