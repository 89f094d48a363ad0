//! A column's values: random ones of its type, or a sequence.

use std::time::Duration;

use millrace_connector_api::Options;
use millrace_core::config::OptionValue;
use millrace_core::{Error, Result};
use millrace_expr::{DataType, Field, TypeKind};
use millrace_formats::column::{Column, Values};
use millrace_formats::{number, time};

use super::lanes::Lane;
use super::random::Random;

const TEXT_LENGTH: usize = 100;
const COLLECTION_LENGTH: usize = 3;
const DAY_MILLIS: i64 = 86_400_000;

#[derive(Debug)]
pub struct Generator {
    kind: Kind,
    null_rate: f64,
}

#[derive(Debug)]
enum Kind {
    /// `start + n` for row n.
    Sequence {
        start: i64,
        end: i64,
    },
    Boolean,
    /// Bounds included.
    Integer {
        min: i64,
        max: i64,
    },
    Real {
        min: f64,
        max: f64,
    },
    /// Hexadecimal digits.
    Text {
        length: usize,
        variable: bool,
    },
    Bytes {
        length: usize,
        variable: bool,
    },
    /// The present time, less up to so many milliseconds.
    Past {
        max: i64,
    },
    Today,
    TimeOfDay,
    Array {
        length: usize,
        item: Box<Generator>,
    },
    Map {
        length: usize,
        key: Box<Generator>,
        value: Box<Generator>,
    },
    Multiset {
        length: usize,
        item: Box<Generator>,
    },
    Row(Vec<Generator>),
}

/// Options of one column, remembered as used.
struct Keys<'a, 'b> {
    options: &'a Options<'a>,
    prefix: String,
    used: &'b mut Vec<String>,
}

impl Keys<'_, '_> {
    fn get<T: OptionValue>(&mut self, name: &str) -> Result<Option<T>> {
        let key = format!("{}.{name}", self.prefix);
        let value = self.options.get(&key)?;
        self.used.push(key);
        Ok(value)
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        let key = format!("{}.{name}", self.prefix);
        let value = match self.options.raw(&key) {
            None => None,
            Some(text) => Some(parse(text.as_bytes()).ok_or_else(|| self.options.wrong(&key, expected))?),
        };
        self.used.push(key);
        Ok(value)
    }

    fn wrong(&self, name: &str, expected: &str) -> Error {
        self.options.wrong(&format!("{}.{name}", self.prefix), expected)
    }

    fn length(&mut self, declared: u32, default: usize) -> Result<usize> {
        let length: Option<usize> = self.get("length")?;
        let unlimited = declared == millrace_expr::types::MAX_LENGTH;
        match length {
            None if unlimited => Ok(default),
            None => Ok(declared as usize),
            Some(n) if n == 0 || (!unlimited && n > declared as usize) => {
                Err(self.wrong("length", "a length from 1 to that of the column's type"))
            }
            Some(n) => Ok(n),
        }
    }

    fn integers(&mut self, min: i64, max: i64) -> Result<Kind> {
        let low = self.get("min")?.unwrap_or(min);
        let high = self.get("max")?.unwrap_or(max);
        if low < min || low > high {
            return Err(self.wrong(
                "min",
                &format!("a whole number from {min} to the column's maximum"),
            ));
        }
        if high > max {
            return Err(self.wrong("max", &format!("a whole number up to {max}")));
        }
        Ok(Kind::Integer { min: low, max: high })
    }

    fn reals(&mut self, min: f64, max: f64) -> Result<Kind> {
        let low = self
            .parsed("min", "a number", number::parse_double)?
            .unwrap_or(min);
        let high = self
            .parsed("max", "a number", number::parse_double)?
            .unwrap_or(max);
        if !(low.is_finite() && high.is_finite() && low <= high) {
            return Err(self.wrong("min", "a number that is not above the column's maximum"));
        }
        Ok(Kind::Real { min: low, max: high })
    }
}

impl Generator {
    /// The generator of a column; keys that it takes are added to `used`.
    pub fn new(field: &Field, options: &Options<'_>, used: &mut Vec<String>) -> Result<Self> {
        let prefix = format!("fields.{}", field.name);
        let kind_key = format!("{prefix}.kind");
        let sequence = options
            .choice(&kind_key, &[("random", false), ("sequence", true)])?
            .unwrap_or(false);
        used.push(kind_key);
        if sequence {
            let mut keys = Keys {
                options,
                prefix,
                used,
            };
            return Self::sequence(&field.data_type, &mut keys);
        }
        Self::random(&field.data_type, prefix, options, used)
    }

    fn sequence(data_type: &DataType, keys: &mut Keys<'_, '_>) -> Result<Self> {
        let (low, high) = match data_type.kind {
            TypeKind::TinyInt => (i64::from(i8::MIN), i64::from(i8::MAX)),
            TypeKind::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
            TypeKind::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
            TypeKind::BigInt | TypeKind::Float | TypeKind::Double => (i64::MIN, i64::MAX),
            TypeKind::Char(_) | TypeKind::Varchar(_) => (i64::MIN, i64::MAX),
            TypeKind::Decimal { precision, scale } => {
                let digits = u32::from(precision - scale).min(18);
                let most = 10i64.pow(digits) - 1;
                (-most, most)
            }
            _ => {
                return Err(keys
                    .wrong("kind", "'random' for this column")
                    .with_hint(format!("a column of type {data_type} cannot be a sequence")));
            }
        };
        let missing = |keys: &Keys<'_, '_>, name: &str| {
            Error::user(format!(
                "table '{}' lacks the option '{}.{name}'",
                keys.options.table, keys.prefix
            ))
            .with_hint("a sequence has a start and an end")
        };
        let start: i64 = keys.get("start")?.ok_or_else(|| missing(keys, "start"))?;
        let end: i64 = keys.get("end")?.ok_or_else(|| missing(keys, "end"))?;
        if start < low || start > end {
            return Err(keys.wrong("start", "a whole number of the column's type, not above the end"));
        }
        if end > high {
            return Err(keys.wrong("end", "a whole number of the column's type"));
        }
        Ok(Generator {
            kind: Kind::Sequence { start, end },
            null_rate: 0.0,
        })
    }

    fn random(
        data_type: &DataType,
        prefix: String,
        options: &Options<'_>,
        used: &mut Vec<String>,
    ) -> Result<Self> {
        let mut keys = Keys {
            options,
            prefix: prefix.clone(),
            used,
        };
        let null_rate = keys
            .parsed("null-rate", "a number from 0 to 1", number::parse_double)?
            .unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_rate) || (null_rate > 0.0 && !data_type.nullable) {
            return Err(keys.wrong(
                "null-rate",
                "a number from 0 to 1, and 0 for a column that is NOT NULL",
            ));
        }
        let nested = |name: &str, inner: &DataType, used: &mut Vec<String>| {
            Self::random(inner, format!("{prefix}.{name}"), options, used).map(Box::new)
        };
        let collection = |keys: &mut Keys<'_, '_>| {
            keys.get::<usize>("length")
                .map(|l| l.unwrap_or(COLLECTION_LENGTH))
        };
        let kind = match &data_type.kind {
            TypeKind::Boolean => Kind::Boolean,
            TypeKind::TinyInt => keys.integers(i64::from(i8::MIN), i64::from(i8::MAX))?,
            TypeKind::SmallInt => keys.integers(i64::from(i16::MIN), i64::from(i16::MAX))?,
            TypeKind::Int => keys.integers(i64::from(i32::MIN), i64::from(i32::MAX))?,
            TypeKind::BigInt | TypeKind::IntervalDaySecond => keys.integers(i64::MIN, i64::MAX)?,
            TypeKind::IntervalYearMonth => keys.integers(0, 120_000)?,
            TypeKind::Float => keys.reals(f64::from(f32::from_bits(1)), f64::from(f32::MAX))?,
            TypeKind::Double => keys.reals(f64::from_bits(1), f64::MAX)?,
            TypeKind::Decimal { precision, scale } => {
                let most = 10f64.powi(i32::from(*precision) - i32::from(*scale));
                keys.reals(f64::from_bits(1).max(-most), most)?
            }
            TypeKind::Char(n) => Kind::Text {
                length: *n as usize,
                variable: false,
            },
            TypeKind::Binary(n) => Kind::Bytes {
                length: *n as usize,
                variable: false,
            },
            TypeKind::Varchar(n) => Kind::Text {
                length: keys.length(*n, TEXT_LENGTH)?,
                variable: keys.get("var-len")?.unwrap_or(false),
            },
            TypeKind::Varbinary(n) => Kind::Bytes {
                length: keys.length(*n, TEXT_LENGTH)?,
                variable: keys.get("var-len")?.unwrap_or(false),
            },
            TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
                let max: Duration = keys.get("max-past")?.unwrap_or_default();
                Kind::Past {
                    max: i64::try_from(max.as_millis()).unwrap_or(i64::MAX),
                }
            }
            TypeKind::Date => Kind::Today,
            TypeKind::Time(_) => Kind::TimeOfDay,
            TypeKind::Array(element) => Kind::Array {
                length: collection(&mut keys)?,
                item: nested("element", element, used)?,
            },
            TypeKind::Multiset(element) => Kind::Multiset {
                length: collection(&mut keys)?,
                item: nested("element", element, used)?,
            },
            TypeKind::Map(key, value) => Kind::Map {
                length: collection(&mut keys)?,
                key: nested("key", &key.as_ref().clone().with_nullable(false), used)?,
                value: nested("value", value, used)?,
            },
            TypeKind::Row(fields) => Kind::Row(
                fields
                    .iter()
                    .map(|f| Self::random(&f.data_type, format!("{prefix}.{}", f.name), options, used))
                    .collect::<Result<Vec<_>>>()?,
            ),
            TypeKind::Null => return Err(Error::unsupported(format!("datagen for type {data_type}"))),
        };
        Ok(Generator { kind, null_rate })
    }

    /// Rows until a sequence is at its end.
    pub fn rows(&self) -> Option<u64> {
        match self.kind {
            Kind::Sequence { start, end } => u64::try_from(i128::from(end) - i128::from(start) + 1).ok(),
            _ => None,
        }
    }

    /// Appends the values of the next `rows` rows of a lane, for the column of this index.
    pub fn fill(&self, column: &mut Column, lane: &Lane, index: u64, rows: u64, now: i64) {
        let (first, step, seed) = (lane.next, lane.step, lane.seed);
        let numbers = (0..rows).map(|i| first.wrapping_add(i.wrapping_mul(step)));
        match (&self.kind, &mut column.values) {
            // Whole columns of the plainest kinds, without a look at kind and column for each value.
            (Kind::Sequence { start, .. }, Values::BigInt(out)) => {
                out.extend(numbers.map(|row| start.wrapping_add(row as i64)));
            }
            (Kind::Integer { min, max }, Values::BigInt(out)) if self.null_rate == 0.0 => {
                out.extend(numbers.map(|row| Random::of(seed, row, index).integer(*min, *max)));
            }
            _ => numbers.for_each(|row| self.push(column, row, &mut Random::of(seed, row, index), now)),
        }
    }

    /// Appends the value of row `row` to `column`; `now` is in milliseconds since the epoch.
    fn push(&self, column: &mut Column, row: u64, random: &mut Random, now: i64) {
        if self.null_rate > 0.0 && random.unit() < self.null_rate {
            return column.push_null();
        }
        match (&self.kind, &mut column.values) {
            (Kind::Sequence { start, .. }, values) => whole(values, start.wrapping_add(row as i64)),
            (Kind::Boolean, Values::Boolean(v)) => v.push(random.next() & 1 == 1),
            (Kind::Integer { min, max }, values) => whole(values, random.integer(*min, *max)),
            (Kind::Real { min, max }, values) => {
                let u = random.unit();
                real(values, min * (1.0 - u) + max * u);
            }
            (Kind::Text { length, variable }, Values::Text(v)) => {
                for _ in 0..chosen_length(*length, *variable, random) {
                    v.data.push(b"0123456789abcdef"[(random.next() >> 60) as usize]);
                }
                v.close();
            }
            (Kind::Bytes { length, variable }, Values::Bytes(v)) => {
                for _ in 0..chosen_length(*length, *variable, random) {
                    v.data.push((random.next() >> 56) as u8);
                }
                v.close();
            }
            (Kind::Past { max }, Values::Timestamp(v)) => {
                let millis = now.saturating_sub(random.integer(0, *max));
                let (seconds, nanos) = (
                    millis.div_euclid(1000),
                    millis.rem_euclid(1000) as u32 * 1_000_000,
                );
                v.values.push(time::in_unit(seconds, nanos, v.unit).unwrap_or(0));
            }
            (Kind::Today, Values::Date(v)) => v.push(now.div_euclid(DAY_MILLIS) as i32),
            (Kind::TimeOfDay, Values::Time(v)) => v.push(now.rem_euclid(DAY_MILLIS) as i32),
            (Kind::Array { length, item }, Values::Array { offsets, item: items }) => {
                (0..*length).for_each(|_| item.push(items, row, random, now));
                offsets.push(items.len() as i32);
            }
            (
                Kind::Map { length, key, value },
                Values::Map {
                    offsets,
                    key: keys,
                    value: items,
                },
            ) => {
                for _ in 0..*length {
                    key.push(keys, row, random, now);
                    value.push(items, row, random, now);
                }
                offsets.push(keys.len() as i32);
            }
            (
                Kind::Multiset { length, item },
                Values::Map {
                    offsets,
                    key: keys,
                    value: counts,
                },
            ) => {
                for _ in 0..*length {
                    item.push(keys, row, random, now);
                    whole(&mut counts.values, random.integer(1, *length as i64));
                }
                offsets.push(keys.len() as i32);
            }
            (Kind::Row(fields), Values::Row(columns)) => {
                for (field, column) in fields.iter().zip(&mut columns.fields) {
                    field.push(column, row, random, now);
                }
                columns.rows += 1;
            }
            // Generators are made from the very types that the columns are made from.
            (kind, _) => unreachable!("a generator {kind:?} meets a column of another type"),
        }
    }
}

fn chosen_length(length: usize, variable: bool, random: &mut Random) -> usize {
    if variable {
        random.integer(1, length as i64) as usize
    } else {
        length
    }
}

/// A whole number in the form of the column; the options were checked against its range.
fn whole(values: &mut Values, v: i64) {
    match values {
        Values::TinyInt(out) => out.push(v as i8),
        Values::SmallInt(out) => out.push(v as i16),
        Values::Int(out) | Values::Months(out) => out.push(v as i32),
        Values::BigInt(out) | Values::Millis(out) => out.push(v),
        Values::Float(out) => out.push(v as f32),
        Values::Double(out) => out.push(v as f64),
        Values::Decimal(out) => out.values.push(i128::from(v) * 10i128.pow(u32::from(out.scale))),
        Values::Text(out) => out.push(v.to_string().as_bytes()),
        other => unreachable!("a whole number meets a column {other:?}"),
    }
}

fn real(values: &mut Values, v: f64) {
    match values {
        Values::Float(out) => out.push(v as f32),
        Values::Double(out) => out.push(v),
        Values::Decimal(out) => {
            let most = 10i128.pow(u32::from(out.precision)) - 1;
            let unscaled = (v * 10f64.powi(i32::from(out.scale))) as i128;
            out.values.push(unscaled.clamp(-most, most));
        }
        other => unreachable!("a real number meets a column {other:?}"),
    }
}
