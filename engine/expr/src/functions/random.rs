//! RAND and RAND_INTEGER.
//!
//! With a seed they give the numbers of `java.util.Random`, as in Flink: a literal seed starts a sequence
//! that goes on from row to row, in each subtask and from its start anew; of a seed that is computed each row
//! gets the first number.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Int32Array};
use arrow::datatypes as a;
use millrace_core::{Error, Result};
use rand::Rng;

use super::support::{int, primitives, strict, takes, try_primitives};
use crate::function::{Call, Function, Resolution, Volatility};
use crate::value::Column;
use crate::{Expr, TypeKind};

// Fallible, so that rows that need no number take none from the sequence.
pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager("RAND", "RAND([INT seed])", rand_type, rand)
        .with_volatility(Volatility::Volatile)
        .fallible(),
    Function::eager(
        "RAND_INTEGER",
        "RAND_INTEGER([INT seed,] INT bound)",
        rand_integer_type,
        rand_integer,
    )
    .with_volatility(Volatility::Volatile)
    .fallible(),
];

fn rand_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() || takes(args, &[int]) {
        strict(TypeKind::Double, args)
    } else {
        Resolution::Mismatch
    }
}

fn rand_integer_type(args: &mut Vec<Expr>) -> Resolution {
    if takes(args, &[int]) || takes(args, &[int, int]) {
        strict(TypeKind::Int, args)
    } else {
        Resolution::Mismatch
    }
}

/// `java.util.Random`: 48 bits of a linear congruential generator.
struct JavaRandom(u64);

const MASK: u64 = (1 << 48) - 1;

impl JavaRandom {
    fn new(seed: i32) -> Self {
        JavaRandom((i64::from(seed) as u64 ^ 0x5_deec_e66d) & MASK)
    }

    fn next(&mut self, bits: u32) -> u32 {
        self.0 = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & MASK;
        (self.0 >> (48 - bits)) as u32
    }

    fn double(&mut self) -> f64 {
        let high = u64::from(self.next(26)) << 27;
        (high + u64::from(self.next(27))) as f64 * 2f64.powi(-53)
    }

    /// Below a positive bound.
    fn below(&mut self, bound: i32) -> i32 {
        let mut bits = self.next(31) as i32;
        if bound & (bound - 1) == 0 {
            return ((i64::from(bound) * i64::from(bits)) >> 31) as i32;
        }
        // What is left over at the end of the range would make small numbers more frequent.
        loop {
            let value = bits % bound;
            if bits.wrapping_sub(value).wrapping_add(bound - 1) >= 0 {
                return value;
            }
            bits = self.next(31) as i32;
        }
    }
}

/// The numbers of a call: of the first argument, which is a seed.
enum Numbers<'a> {
    /// The sequence of a literal seed; what it is at stays between batches. 0 is a sequence that has not begun.
    Sequence(&'a AtomicU64, JavaRandom),
    Each(Column<&'a Int32Array>),
}

const BEGUN: u64 = 1 << 63;

impl<'a> Numbers<'a> {
    fn of(call: &'a Call<'_>) -> Numbers<'a> {
        let seeds = call.args[0].primitives::<a::Int32Type>();
        match seeds.get(0) {
            Some(seed) if call.args[0].is_scalar() => {
                let random = match call.memory.load(Ordering::Relaxed) {
                    0 => JavaRandom::new(seed),
                    state => JavaRandom(state & MASK),
                };
                Numbers::Sequence(call.memory, random)
            }
            _ => Numbers::Each(seeds),
        }
    }

    fn next<T>(&mut self, row: usize, number: impl FnOnce(&mut JavaRandom) -> T) -> Option<T> {
        match self {
            Numbers::Sequence(_, random) => Some(number(random)),
            Numbers::Each(seeds) => seeds.get(row).map(|seed| number(&mut JavaRandom::new(seed))),
        }
    }
}

impl Drop for Numbers<'_> {
    fn drop(&mut self) {
        if let Numbers::Sequence(memory, random) = self {
            memory.store(random.0 | BEGUN, Ordering::Relaxed);
        }
    }
}

fn rand(call: &Call<'_>) -> Result<ArrayRef> {
    if call.args.is_empty() {
        let mut random = rand::rng();
        return primitives::<a::Float64Type>(call.rows, |_| Some(random.random::<f64>()));
    }
    let mut numbers = Numbers::of(call);
    primitives::<a::Float64Type>(call.rows, |row| numbers.next(row, JavaRandom::double))
}

fn rand_integer(call: &Call<'_>) -> Result<ArrayRef> {
    let bounds = call.args[call.args.len() - 1].primitives::<a::Int32Type>();
    let mut numbers = (call.args.len() == 2).then(|| Numbers::of(call));
    let mut random = rand::rng();
    try_primitives::<a::Int32Type>(call.rows, |row| match (bounds.get(row), &mut numbers) {
        (Some(bound), _) if bound <= 0 => Err(Error::user(format!(
            "the bound of RAND_INTEGER must be positive, not {bound}"
        ))),
        (Some(bound), Some(numbers)) => Ok(numbers.next(row, |random| random.below(bound))),
        (Some(bound), None) => Ok(Some(random.random_range(0..bound))),
        (None, _) => Ok(None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What JDK 17 gives.
    #[test]
    fn as_java() {
        let mut random = JavaRandom::new(42);
        assert_eq!(random.double(), 0.7275636800328681);
        assert_eq!(random.double(), 0.6832234717598454);
        let mut random = JavaRandom::new(42);
        assert_eq!([random.below(1000), random.below(1000)], [130, 763]);
        let mut random = JavaRandom::new(7);
        assert_eq!([random.below(16), random.below(16)], [11, 10]);
        assert!((0..1000).all(|_| (0..=1 << 30).contains(&random.below((1 << 30) + 1))));
    }
}
