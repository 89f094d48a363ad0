//! Functions over dates and times.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::datatypes as a;
use millrace_core::{Error, Result};

use super::interval::add_months;
use super::support::{
    any_nullable, bigint, booleans, int, kind, literal_string, nullable, primitives, strict, string,
    string_kind, to_kind, try_primitives, try_strings,
};
use crate::cast::temporal::{build, reader};
use crate::function::{self, Call, Function, Resolution, Volatility};
use crate::text::pattern::Pattern;
use crate::text::time::{MILLIS_PER_DAY, NANOS_PER_DAY};
use crate::text::timestamp::{Moment, write};
use crate::text::{date, timestamp, zone};
use crate::value::Value;
use crate::{DataType, Expr, Scalar, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager("EXTRACT", "EXTRACT(unit FROM date, time, timestamp or interval)", extract_type, extract),
    Function::eager("YEAR", "YEAR(date or timestamp)", |args| shorthand(args, "YEAR"), extract),
    Function::eager("QUARTER", "QUARTER(date or timestamp)", |args| shorthand(args, "QUARTER"), extract),
    Function::eager("MONTH", "MONTH(date or timestamp)", |args| shorthand(args, "MONTH"), extract),
    Function::eager("WEEK", "WEEK(date or timestamp)", |args| shorthand(args, "WEEK"), extract),
    Function::eager("DAYOFYEAR", "DAYOFYEAR(date or timestamp)", |args| shorthand(args, "DOY"), extract),
    Function::eager("DAYOFMONTH", "DAYOFMONTH(date or timestamp)", |args| shorthand(args, "DAY"), extract),
    Function::eager("DAYOFWEEK", "DAYOFWEEK(date or timestamp)", |args| shorthand(args, "DOW"), extract),
    Function::eager("HOUR", "HOUR(date, time or timestamp)", |args| shorthand(args, "HOUR"), extract),
    Function::eager("MINUTE", "MINUTE(date, time or timestamp)", |args| shorthand(args, "MINUTE"), extract),
    Function::eager("SECOND", "SECOND(date, time or timestamp)", |args| shorthand(args, "SECOND"), extract),
    Function::eager("DATE_FORMAT", "DATE_FORMAT(timestamp or STRING, STRING pattern)", date_format_type, date_format)
        .fallible(),
    Function::eager("TO_DATE", "TO_DATE(STRING [, STRING pattern])", to_date_type, to_date).fallible(),
    Function::eager("TO_TIMESTAMP", "TO_TIMESTAMP(STRING [, STRING pattern])", to_timestamp_type, to_timestamp)
        .fallible(),
    Function::eager(
        "TO_TIMESTAMP_LTZ",
        "TO_TIMESTAMP_LTZ(number [, precision 0 or 3]), TO_TIMESTAMP_LTZ(STRING [, STRING pattern [, STRING zone]])",
        to_timestamp_ltz_type,
        to_timestamp_ltz,
    )
    .fallible(),
    Function::eager("TIMESTAMPADD", "TIMESTAMPADD(unit, integer, date, time or timestamp)", add_type, extract),
    Function::eager("TIMESTAMPDIFF", "TIMESTAMPDIFF(unit, date or timestamp, date or timestamp)", diff_type, diff),
    Function::eager("UNIX_TIMESTAMP", "UNIX_TIMESTAMP()", now_seconds_type, now_seconds)
        .with_volatility(Volatility::Dynamic),
    Function::eager("$UNIX_TIMESTAMP", "UNIX_TIMESTAMP(STRING [, STRING pattern])", parse_seconds_type, parse_seconds)
        .fallible(),
    Function::eager("FROM_UNIXTIME", "FROM_UNIXTIME(integer [, STRING pattern])", from_unixtime_type, from_unixtime)
        .fallible(),
    Function::eager("CONVERT_TZ", "CONVERT_TZ(STRING, STRING from zone, STRING to zone)", convert_type, convert_tz)
        .fallible(),
    Function::eager("NOW", "NOW()", |args| constant(args, TypeKind::TimestampLtz(3)), now)
        .with_volatility(Volatility::Dynamic),
    Function::eager("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP", |args| constant(args, TypeKind::TimestampLtz(3)), now)
        .with_volatility(Volatility::Dynamic),
    Function::eager(
        "CURRENT_ROW_TIMESTAMP",
        "CURRENT_ROW_TIMESTAMP()",
        |args| constant(args, TypeKind::TimestampLtz(3)),
        now,
    )
    .with_volatility(Volatility::Dynamic),
    Function::eager("PROCTIME", "PROCTIME()", |args| constant(args, TypeKind::TimestampLtz(3)), now)
        .with_volatility(Volatility::Dynamic),
    Function::eager("LOCALTIMESTAMP", "LOCALTIMESTAMP", |args| constant(args, TypeKind::Timestamp(3)), now)
        .with_volatility(Volatility::Dynamic),
    Function::eager("CURRENT_DATE", "CURRENT_DATE", |args| constant(args, TypeKind::Date), now)
        .with_volatility(Volatility::Dynamic),
    Function::eager("CURRENT_TIME", "CURRENT_TIME", |args| constant(args, TypeKind::Time(0)), now)
        .with_volatility(Volatility::Dynamic),
    Function::eager("LOCALTIME", "LOCALTIME", |args| constant(args, TypeKind::Time(0)), now)
        .with_volatility(Volatility::Dynamic),
    Function::eager("$FLOOR", "FLOOR(date, time or timestamp TO unit)", round_type, |call| round(call, false)),
    Function::eager("$CEIL", "CEIL(date, time or timestamp TO unit)", round_type, |call| round(call, true)),
    Function::eager("OVERLAPS", "(start, end or length) OVERLAPS (start, end or length)", overlaps_type, overlaps),
];

/// Units of EXTRACT, FLOOR, CEIL, TIMESTAMPADD and TIMESTAMPDIFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    DayOfYear,
    DayOfWeek,
    IsoDayOfWeek,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Epoch,
}

impl Unit {
    fn parse(text: &str) -> Option<Unit> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SQL_TSI_").unwrap_or(&upper);
        Some(match name {
            "MILLENNIUM" => Unit::Millennium,
            "CENTURY" => Unit::Century,
            "DECADE" => Unit::Decade,
            "YEAR" | "YEARS" => Unit::Year,
            "ISOYEAR" => Unit::IsoYear,
            "QUARTER" | "QUARTERS" => Unit::Quarter,
            "MONTH" | "MONTHS" => Unit::Month,
            "WEEK" | "WEEKS" => Unit::Week,
            "DAY" | "DAYS" => Unit::Day,
            "DOY" => Unit::DayOfYear,
            "DOW" => Unit::DayOfWeek,
            "ISODOW" => Unit::IsoDayOfWeek,
            "HOUR" | "HOURS" => Unit::Hour,
            "MINUTE" | "MINUTES" => Unit::Minute,
            "SECOND" | "SECONDS" => Unit::Second,
            "MILLISECOND" => Unit::Millisecond,
            "MICROSECOND" => Unit::Microsecond,
            "NANOSECOND" => Unit::Nanosecond,
            "EPOCH" => Unit::Epoch,
            _ => return None,
        })
    }

    /// The unit that a literal argument names.
    fn of(arg: &Expr) -> Option<Unit> {
        Unit::parse(literal_string(arg)?)
    }

    /// The unit at evaluation; `of` has accepted it.
    fn constant(value: &Value) -> Result<Unit> {
        value
            .strings()
            .get(0)
            .and_then(Unit::parse)
            .ok_or_else(|| Error::internal("a time unit is not a literal"))
    }

    /// The months in it, of those that count months.
    fn months(self) -> Option<i64> {
        Some(match self {
            Unit::Month => 1,
            Unit::Quarter => 3,
            Unit::Year => 12,
            _ => return None,
        })
    }

    /// The seconds in it, of those that have a length.
    fn seconds(self) -> Option<i64> {
        Some(match self {
            Unit::Week => 604_800,
            Unit::Day => 86_400,
            Unit::Hour => 3600,
            Unit::Minute => 60,
            Unit::Second => 1,
            _ => return None,
        })
    }

    fn is_clock(self) -> bool {
        use Unit::{Hour, Microsecond, Millisecond, Minute, Nanosecond, Second};
        matches!(
            self,
            Hour | Minute | Second | Millisecond | Microsecond | Nanosecond
        )
    }
}

fn is_dated(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Date | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)
    )
}

fn is_timestamp(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_))
}

/// Reads dates and times; instants as the session's clocks show them.
fn local_reader<'a>(call: &'a Call<'_>, index: usize) -> Result<Box<dyn Fn(usize) -> Option<Moment> + 'a>> {
    let value = &call.args[index];
    let read = reader(value.inner().as_ref(), &call.arg_types[index])?;
    let zone = call.session.time_zone;
    let local = matches!(call.arg_types[index].kind, TypeKind::TimestampLtz(_));
    Ok(Box::new(move |row| {
        if value.is_null(row) {
            return None;
        }
        let moment = read(value.index(row));
        Some(if local {
            zone::to_local(zone, moment)
        } else {
            moment
        })
    }))
}

fn extract_type(args: &mut Vec<Expr>) -> Resolution {
    let [unit, value] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    let Some(unit) = Unit::of(unit) else {
        return Resolution::Mismatch;
    };
    let fits = match kind(value) {
        TypeKind::Time(_) => unit.is_clock(),
        TypeKind::IntervalYearMonth => matches!(unit, Unit::Year | Unit::Month | Unit::Quarter),
        TypeKind::IntervalDaySecond => {
            matches!(
                unit,
                Unit::Day | Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond
            )
        }
        other => is_dated(other),
    };
    if fits {
        strict(TypeKind::BigInt, args)
    } else {
        Resolution::Mismatch
    }
}

fn shorthand(args: &mut Vec<Expr>, unit: &str) -> Resolution {
    let [value] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    let mut extract = vec![literal(unit), value.clone()];
    match extract_type(&mut extract) {
        Resolution::Type(data_type) => Resolution::Rewritten(Expr::Call {
            function: "EXTRACT".to_owned(),
            args: extract,
            data_type,
        }),
        other => other,
    }
}

fn literal(text: &str) -> Expr {
    let data_type = DataType::not_null(TypeKind::Char(text.len().max(1) as u32));
    Expr::literal(Scalar::String(text.to_owned()), data_type)
}

fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let unit = Unit::constant(&call.args[0])?;
    match call.arg_types[1].kind {
        TypeKind::IntervalYearMonth => {
            let months = call.args[1].primitives::<a::IntervalYearMonthType>();
            primitives::<a::Int64Type>(call.rows, |row| {
                let months = i64::from(months.get(row)?);
                Some(match unit {
                    Unit::Year => months / 12,
                    Unit::Quarter => months % 12 / 3 + 1,
                    _ => months % 12,
                })
            })
        }
        TypeKind::IntervalDaySecond => {
            let millis = call.args[1].primitives::<a::DurationMillisecondType>();
            primitives::<a::Int64Type>(call.rows, |row| {
                let millis = millis.get(row)?;
                Some(match unit {
                    Unit::Day => millis / MILLIS_PER_DAY,
                    Unit::Hour => millis / 3_600_000 % 24,
                    Unit::Minute => millis / 60_000 % 60,
                    Unit::Second => millis / 1000 % 60,
                    _ => millis % 1000,
                })
            })
        }
        _ => {
            let read = local_reader(call, 1)?;
            primitives::<a::Int64Type>(call.rows, |row| read(row).map(|moment| part(unit, moment)))
        }
    }
}

/// As Flink divides: toward the epoch, so that before 1970 hours and smaller are negative, and days
/// begin behind their midnight.
fn part(unit: Unit, moment: Moment) -> i64 {
    let (millis, nanos) = moment.millis();
    let days = (millis / MILLIS_PER_DAY) as i32;
    let time = millis % MILLIS_PER_DAY;
    let civil = || date::to_civil(days);
    let year = || i64::from(civil().0);
    match unit {
        Unit::Millennium => of_era(year(), 1000),
        Unit::Century => of_era(year(), 100),
        Unit::Decade => year().div_euclid(10),
        Unit::Year => year(),
        Unit::IsoYear => i64::from(iso_week(days).0),
        Unit::Quarter => i64::from((civil().1 - 1) / 3 + 1),
        Unit::Month => i64::from(civil().1),
        Unit::Week => i64::from(iso_week(days).1),
        Unit::Day => i64::from(civil().2),
        Unit::DayOfYear => i64::from(days - date::from_civil(civil().0, 1, 1) + 1),
        Unit::DayOfWeek => i64::from((days + 4).rem_euclid(7) + 1),
        Unit::IsoDayOfWeek => i64::from((days + 3).rem_euclid(7) + 1),
        Unit::Hour => time / 3_600_000,
        Unit::Minute => time / 60_000 % 60,
        Unit::Second => time / 1000 % 60,
        Unit::Millisecond => time % 1000,
        Unit::Microsecond => time % 1000 * 1000 + i64::from(nanos / 1000),
        Unit::Nanosecond => time % 1000 * 1_000_000 + i64::from(nanos),
        Unit::Epoch => millis / 1000,
    }
}

/// Centuries and millennia begin with a year 1.
fn of_era(year: i64, length: i64) -> i64 {
    if year > 0 {
        (year + length - 1) / length
    } else {
        -((length - year) / length)
    }
}

/// The ISO 8601 year and week of a day.
fn iso_week(days: i32) -> (i32, i32) {
    // The week belongs to the year of its Thursday.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, ..) = date::to_civil(thursday);
    (year, (thursday - date::from_civil(year, 1, 1)) / 7 + 1)
}

/// Compiled patterns by their text, for one call over a batch.
struct Patterns {
    compile: fn(&str) -> Result<Pattern>,
    compiled: HashMap<String, std::result::Result<Pattern, String>>,
}

impl Patterns {
    /// Patterns of `DateTimeFormatter`.
    fn new() -> Self {
        Patterns {
            compile: Pattern::compile,
            compiled: HashMap::new(),
        }
    }

    /// Patterns of `SimpleDateFormat`.
    fn simple() -> Self {
        Patterns {
            compile: Pattern::compile_simple,
            compiled: HashMap::new(),
        }
    }

    fn get(&mut self, text: &str) -> Result<&Pattern> {
        if !self.compiled.contains_key(text) {
            let compiled = (self.compile)(text).map_err(|e| e.message().to_owned());
            self.compiled.insert(text.to_owned(), compiled);
        }
        match self.compiled.get(text) {
            Some(Ok(pattern)) => Ok(pattern),
            Some(Err(message)) => Err(Error::user(message.clone())),
            None => Err(Error::internal("a date pattern is lost")),
        }
    }
}

/// Refuses a literal pattern that is not understood before anything runs.
fn check_pattern(arg: Option<&Expr>) -> Option<Resolution> {
    let pattern = literal_string(arg?)?;
    Pattern::compile(pattern).err().map(Resolution::Refused)
}

/// As `check_pattern`, for the functions that write by `SimpleDateFormat`.
fn check_simple_pattern(arg: Option<&Expr>) -> Option<Resolution> {
    let pattern = literal_string(arg?)?;
    Pattern::compile_simple(pattern).err().map(Resolution::Refused)
}

/// As `check_pattern`, for the functions that read by `SimpleDateFormat`.
fn check_reading_pattern(arg: Option<&Expr>) -> Option<Resolution> {
    let pattern = literal_string(arg?)?;
    Pattern::compile_simple(pattern)
        .and_then(Pattern::check_reading)
        .err()
        .map(Resolution::Refused)
}

fn date_format_type(args: &mut Vec<Expr>) -> Resolution {
    let [value, pattern] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if !(is_timestamp(kind(value)) || string(value)) || !string(pattern) {
        return Resolution::Mismatch;
    }
    let refused = if args[0].data_type().is_string() {
        check_simple_pattern(args.get(1))
    } else {
        check_pattern(args.get(1))
    };
    refused.unwrap_or_else(|| nullable(string_kind()))
}

/// A text is read and written by `SimpleDateFormat`, which leaves a fraction of the second aside.
fn date_format(call: &Call<'_>) -> Result<ArrayRef> {
    let patterns = call.args[1].strings();
    let simple = call.arg_types[0].is_string();
    let default = Pattern::compile_simple(DEFAULT_PATTERN)?;
    let read: Box<dyn Fn(usize) -> Option<Moment>> = if simple {
        let texts = call.args[0].strings();
        Box::new(move |row| default.parse_lenient(texts.get(row)?))
    } else {
        local_reader(call, 0)?
    };
    let mut cache = if simple {
        Patterns::simple()
    } else {
        Patterns::new()
    };
    try_strings(call.rows, |row, out| {
        let (Some(moment), Some(pattern)) = (read(row), patterns.get(row)) else {
            return Ok(false);
        };
        cache.get(pattern)?.write(moment, out);
        Ok(true)
    })
}

fn text_and_pattern(args: &mut [Expr]) -> bool {
    matches!(args.len(), 1 | 2) && args.iter_mut().all(string)
}

fn to_date_type(args: &mut Vec<Expr>) -> Resolution {
    if !text_and_pattern(args) {
        return Resolution::Mismatch;
    }
    check_reading_pattern(args.get(1)).unwrap_or_else(|| nullable(TypeKind::Date))
}

fn to_timestamp_type(args: &mut Vec<Expr>) -> Resolution {
    if !text_and_pattern(args) {
        return Resolution::Mismatch;
    }
    check_pattern(args.get(1)).unwrap_or_else(|| nullable(TypeKind::Timestamp(3)))
}

/// Reads the first argument, by the pattern of the second one if there is one; what cannot be
/// read is NULL.
fn parse_texts(
    call: &Call<'_>,
    plain: fn(&[u8]) -> Option<Moment>,
    mut cache: Patterns,
    with_pattern: fn(&Pattern, &str) -> Option<Moment>,
    adjust: impl Fn(usize, Moment) -> Result<Option<Moment>>,
) -> Result<ArrayRef> {
    let texts = call.args[0].strings();
    let patterns = call.args.get(1).map(Value::strings);
    build(call.data_type, call.rows, |row| {
        let Some(text) = texts.get(row) else {
            return Ok(None);
        };
        let moment = match &patterns {
            None => plain(text.as_bytes()),
            Some(patterns) => match patterns.get(row) {
                Some(pattern) => with_pattern(cache.get(pattern)?, text),
                None => None,
            },
        };
        match moment {
            Some(moment) => adjust(row, moment),
            None => Ok(None),
        }
    })
}

fn to_date(call: &Call<'_>) -> Result<ArrayRef> {
    let plain = |text: &[u8]| date::parse(text).map(|days| Moment::new(days, 0));
    parse_texts(
        call,
        plain,
        Patterns::simple(),
        Pattern::parse_lenient,
        |_, moment| Ok(Some(moment)),
    )
}

fn to_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    parse_texts(
        call,
        timestamp::parse,
        Patterns::new(),
        parse_pattern,
        |_, moment| Ok(Some(moment)),
    )
}

/// What the pattern does not fit may still be a timestamp in JDBC's form, whatever the pattern.
fn parse_pattern(pattern: &Pattern, text: &str) -> Option<Moment> {
    pattern
        .parse(text)
        .or_else(|| timestamp::parse_jdbc(text.as_bytes()))
}

fn to_timestamp_ltz_type(args: &mut Vec<Expr>) -> Resolution {
    let fits = match args.as_mut_slice() {
        [text] | [text, _] | [text, _, _] if text.data_type().is_string() => args.iter_mut().all(string),
        [number] | [number, _] if number.data_type().is_numeric() => {
            // A decimal is cut to whole units.
            let to = match kind(number) {
                TypeKind::Float | TypeKind::Double => TypeKind::Double,
                _ => TypeKind::BigInt,
            };
            to_kind(number, &to) && args[1..].iter_mut().all(int)
        }
        _ => false,
    };
    if !fits {
        return Resolution::Mismatch;
    }
    if let Some(precision) = args.get(1).and_then(super::support::literal_integer)
        && precision != 0
        && precision != 3
    {
        return Resolution::Refused(precision_error(precision));
    }
    if args[0].data_type().is_string()
        && let Some(refused) = check_pattern(args.get(1))
    {
        return refused;
    }
    nullable(TypeKind::TimestampLtz(3))
}

fn precision_error(precision: i64) -> Error {
    Error::user(format!(
        "TO_TIMESTAMP_LTZ takes the precision 0 for seconds or 3 for milliseconds, not {precision}"
    ))
}

fn to_timestamp_ltz(call: &Call<'_>) -> Result<ArrayRef> {
    if call.arg_types[0].is_string() {
        let zones = call.args.get(2).map(Value::strings);
        return parse_texts(
            call,
            timestamp::parse,
            Patterns::new(),
            parse_pattern,
            |row, local| {
                let zone = match &zones {
                    // Not the session's: Flink takes UTC.
                    None => zone::Zone::UTC,
                    Some(zones) => match zones.get(row) {
                        Some(name) => zone::parse(name)
                            .ok_or_else(|| Error::user(format!("unknown time zone '{name}'")))?,
                        None => return Ok(None),
                    },
                };
                Ok(Some(zone::to_instant(zone, local)))
            },
        );
    }
    let precisions = call.args.get(1).map(|v| v.primitives::<a::Int32Type>());
    let millis: Box<dyn Fn(usize, bool) -> Option<i64>> = if call.arg_types[0].kind == TypeKind::Double {
        let numbers = call.args[0].primitives::<a::Float64Type>();
        Box::new(move |row, seconds| {
            let number = numbers.get(row)? * if seconds { 1000.0 } else { 1.0 };
            number.is_finite().then_some(number as i64)
        })
    } else {
        let numbers = call.args[0].primitives::<a::Int64Type>();
        Box::new(move |row, seconds| numbers.get(row)?.checked_mul(if seconds { 1000 } else { 1 }))
    };
    build(call.data_type, call.rows, |row| {
        let precision = match &precisions {
            None => 3,
            Some(column) => match column.get(row) {
                Some(precision) => precision,
                None => return Ok(None),
            },
        };
        if precision != 0 && precision != 3 {
            return Err(precision_error(precision.into()));
        }
        // What lies outside of the years 1 to 9999 is no timestamp.
        let in_range = |m: &i64| (-62_135_596_800_000..=253_402_300_799_999).contains(m);
        Ok(millis(row, precision == 0)
            .filter(in_range)
            .map(|m| Moment::from_unit(m, a::TimeUnit::Millisecond)))
    })
}

/// Becomes the addition of an interval.
fn add_type(args: &mut Vec<Expr>) -> Resolution {
    let [unit, count, value] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    let Some(unit) = Unit::of(unit) else {
        return Resolution::Mismatch;
    };
    if !count.data_type().is_integer() {
        return Resolution::Mismatch;
    }
    let (number, one) = match (unit.months(), unit.seconds()) {
        (Some(months), _) => (TypeKind::IntervalYearMonth, Scalar::Months(months as i32)),
        (_, Some(seconds)) => (TypeKind::IntervalDaySecond, Scalar::Millis(seconds * 1000)),
        _ if unit == Unit::Millisecond => (TypeKind::IntervalDaySecond, Scalar::Millis(1)),
        _ => return Resolution::Mismatch,
    };
    // A clock's unit makes a date a timestamp.
    let value = if *kind(value) == TypeKind::Date && unit.is_clock() {
        crate::cast::coerce(value.clone(), &TypeKind::Timestamp(6))
    } else {
        value.clone()
    };
    let interval = Expr::literal(one, DataType::not_null(number));
    let sum = function::call("*", vec![interval, count.clone()])
        .and_then(|interval| function::call("+", vec![value, interval]));
    match sum {
        Ok(expr) => Resolution::Rewritten(expr),
        Err(_) => Resolution::Mismatch,
    }
}

fn diff_type(args: &mut Vec<Expr>) -> Resolution {
    let [unit, from, to] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    let fits = Unit::of(unit)
        .is_some_and(|u| u.months().is_some() || u.seconds().is_some() || u == Unit::Millisecond);
    let zoned = |arg: &Expr| matches!(kind(arg), TypeKind::TimestampLtz(_));
    if fits && is_dated(kind(from)) && is_dated(kind(to)) && zoned(from) == zoned(to) {
        strict(TypeKind::Int, args)
    } else {
        Resolution::Mismatch
    }
}

/// Whole units from the first moment to the second.
fn diff(call: &Call<'_>) -> Result<ArrayRef> {
    let unit = Unit::constant(&call.args[0])?;
    // Two instants differ by the time between them; a zone matters only against local times.
    let zoned = |i: usize| matches!(call.arg_types[i].kind, TypeKind::TimestampLtz(_));
    let read = |index: usize| -> Result<Box<dyn Fn(usize) -> Option<Moment> + '_>> {
        if zoned(1) && zoned(2) {
            let value = &call.args[index];
            let read = reader(value.inner().as_ref(), &call.arg_types[index])?;
            Ok(Box::new(move |row| {
                (!value.is_null(row)).then(|| read(value.index(row)))
            }))
        } else {
            local_reader(call, index)
        }
    };
    let (from, to) = (read(1)?, read(2)?);
    primitives::<a::Int32Type>(call.rows, |row| {
        let (from, to) = (from(row)?, to(row)?);
        Some(match (unit.months(), unit.seconds()) {
            (Some(months), _) => months_between(from, to) / months,
            (_, Some(seconds)) => {
                // A part of a second more or less does not make one.
                let millis = between_millis(from, to);
                millis / 1000 / seconds
            }
            _ => between_millis(from, to),
        } as i32)
    })
}

fn between_millis(from: Moment, to: Moment) -> i64 {
    (to.seconds - from.seconds) * 1000 + i64::from(to.nanos / 1_000_000) - i64::from(from.nanos / 1_000_000)
}

/// Whole months, as Calcite's `DateTimeUtils.subtractMonths` has them: the last day of a month is
/// as far as a later day of another one, whatever the time of the day, unless both days meet.
fn months_between(from: Moment, to: Moment) -> i64 {
    let day = |moment: Moment| Moment::new(moment.split().0, 0);
    let days_apart = |late: Moment, early: Moment| {
        let mut months = (late.seconds - early.seconds) / 86_400 / 31;
        while add_months(early, months) < late && add_months(early, months + 1) <= late {
            months += 1;
        }
        months
    };
    let (first, last) = (day(from), day(to));
    let months = if last < first {
        -days_apart(first, last)
    } else {
        days_apart(last, first)
    };
    if add_months(first, months) == last && to.split().1 < from.split().1 {
        months - 1
    } else {
        months
    }
}

fn now_seconds_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() {
        return Resolution::Type(DataType::not_null(TypeKind::BigInt));
    }
    // With arguments it does not depend on the moment, so it is another function.
    match function::call("$UNIX_TIMESTAMP", std::mem::take(args)) {
        Ok(expr) => Resolution::Rewritten(expr),
        Err(error) => Resolution::Refused(error),
    }
}

fn now_seconds(call: &Call<'_>) -> Result<ArrayRef> {
    primitives::<a::Int64Type>(call.rows, |_| Some(call.now_millis.div_euclid(1000)))
}

fn parse_seconds_type(args: &mut Vec<Expr>) -> Resolution {
    if !text_and_pattern(args) {
        return Resolution::Mismatch;
    }
    check_reading_pattern(args.get(1)).unwrap_or_else(|| strict(TypeKind::BigInt, args))
}

const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

/// What cannot be read is the least BIGINT.
fn parse_seconds(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.args[0].strings();
    let patterns = call.args.get(1).map(Value::strings);
    let mut cache = Patterns::simple();
    try_primitives::<a::Int64Type>(call.rows, |row| {
        let pattern = patterns.as_ref().map_or(Some(DEFAULT_PATTERN), |p| p.get(row));
        let (Some(text), Some(pattern)) = (texts.get(row), pattern) else {
            return Ok(None);
        };
        let local = cache.get(pattern)?.parse_lenient(text);
        Ok(Some(local.map_or(i64::MIN, |local| {
            zone::resolve(call.session.time_zone, local, zone::Overlap::Later).seconds
        })))
    })
}

fn from_unixtime_type(args: &mut Vec<Expr>) -> Resolution {
    let fits = match args.as_mut_slice() {
        [seconds] => bigint(seconds),
        [seconds, pattern] => bigint(seconds) && string(pattern),
        _ => false,
    };
    if !fits {
        return Resolution::Mismatch;
    }
    check_simple_pattern(args.get(1)).unwrap_or_else(|| nullable(string_kind()))
}

fn from_unixtime(call: &Call<'_>) -> Result<ArrayRef> {
    let seconds = call.args[0].primitives::<a::Int64Type>();
    let patterns = call.args.get(1).map(Value::strings);
    let mut cache = Patterns::simple();
    try_strings(call.rows, |row, out| {
        let pattern = patterns.as_ref().map_or(Some(DEFAULT_PATTERN), |p| p.get(row));
        let (Some(seconds), Some(pattern)) = (seconds.get(row), pattern) else {
            return Ok(false);
        };
        let local = zone::to_local(call.session.time_zone, Moment { seconds, nanos: 0 });
        cache.get(pattern)?.write(local, out);
        Ok(true)
    })
}

fn convert_type(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 3 && args.iter_mut().all(string) {
        nullable(string_kind())
    } else {
        Resolution::Mismatch
    }
}

fn convert_tz(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, from, to) = (
        call.args[0].strings(),
        call.args[1].strings(),
        call.args[2].strings(),
    );
    let pattern = Pattern::compile_simple(DEFAULT_PATTERN)?;
    try_strings(call.rows, |row, out| {
        let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row)) else {
            return Ok(false);
        };
        let Some(local) = pattern.parse_lenient(text) else {
            return Ok(false);
        };
        let instant = zone::resolve(zone::legacy(from), local, zone::Overlap::Later);
        write(zone::to_local(zone::legacy(to), instant), b' ', 0, out);
        Ok(true)
    })
}

fn constant(args: &mut [Expr], kind: TypeKind) -> Resolution {
    if args.is_empty() {
        Resolution::Type(DataType::not_null(kind))
    } else {
        Resolution::Mismatch
    }
}

fn now(call: &Call<'_>) -> Result<ArrayRef> {
    let instant = Moment::from_unit(call.now_millis, a::TimeUnit::Millisecond);
    let moment = match call.data_type.kind {
        TypeKind::TimestampLtz(_) => instant,
        _ => zone::to_local(call.session.time_zone, instant),
    };
    build(call.data_type, call.rows, |_| Ok(Some(moment)))
}

/// FLOOR and CEIL to a unit are called with it as a literal behind the value.
pub(super) fn resolve_round(args: &mut Vec<Expr>, name: &str) -> Resolution {
    match function::call(name, std::mem::take(args)) {
        Ok(expr) => Resolution::Rewritten(expr),
        Err(error) => Resolution::Refused(error),
    }
}

fn round_type(args: &mut Vec<Expr>) -> Resolution {
    let [value, unit] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    let Some(unit) = Unit::of(unit) else {
        return Resolution::Mismatch;
    };
    let known = !matches!(
        unit,
        Unit::IsoYear
            | Unit::DayOfYear
            | Unit::DayOfWeek
            | Unit::IsoDayOfWeek
            | Unit::Epoch
            | Unit::Nanosecond
            | Unit::Microsecond
    );
    let fits = is_dated(kind(value)) || matches!(kind(value), TypeKind::Time(_));
    if known && fits {
        let data_type = value.data_type().clone();
        Resolution::Type(DataType {
            nullable: any_nullable(args),
            ..data_type
        })
    } else {
        Resolution::Mismatch
    }
}

fn round(call: &Call<'_>, up: bool) -> Result<ArrayRef> {
    let unit = Unit::constant(&call.args[1])?;
    let value = &call.args[0];
    let read = reader(value.inner().as_ref(), &call.arg_types[0])?;
    let zone = call.session.time_zone;
    let (zoned, is_time) = (
        matches!(call.data_type.kind, TypeKind::TimestampLtz(_)),
        matches!(call.data_type.kind, TypeKind::Time(_)),
    );
    build(call.data_type, call.rows, |row| {
        if value.is_null(row) {
            return Ok(None);
        }
        let moment = read(value.index(row));
        // A time has no days, and a date no clock to be rounded.
        if (is_time && !unit.is_clock()) || (call.data_type.kind == TypeKind::Date && unit.is_clock()) {
            return Ok(Some(moment));
        }
        // Flink takes the offset of the instant itself, though it may have been another one where
        // the unit begins.
        let offset = if zoned {
            zone::offset_at(zone, moment.seconds)
        } else {
            0
        };
        let shifted = |moment: Moment, by: i64| Moment {
            seconds: moment.seconds + by,
            ..moment
        };
        let local = shifted(moment, offset);
        let rounded = if up {
            ceil(unit, local, call)
        } else {
            floor(unit, local)
        };
        Ok(Some(shifted(rounded, -offset)))
    })
}

/// The end of the unit, as Calcite's `julianDateFloor` has it: of units longer than a day the time
/// of the day does not count, and those longer than a month that begin on another day than the
/// first of January are over at once.
fn ceil(unit: Unit, moment: Moment, call: &Call<'_>) -> Moment {
    let (days, _) = moment.split();
    let (year, month, day) = date::to_civil(days);
    let first_of = |year: i32, month: u32| Moment::new(date::from_civil(year, month, 1), 0);
    let begun = month > 1 || day > 1;
    match unit {
        Unit::Millennium => first_of((year + 999).div_euclid(1000) * 1000 + 1, 1),
        Unit::Century => first_of((year + 99).div_euclid(100) * 100 + 1, 1),
        Unit::Decade => first_of((year.div_euclid(10) + 1) * 10, 1),
        Unit::Year => first_of(year + i32::from(begun), 1),
        Unit::Quarter => match ((month - 1) / 3 * 3 + 1, begun) {
            (start, false) => first_of(year, start),
            (10, true) => first_of(year + 1, 1),
            (start, true) => first_of(year, start + 3),
        },
        Unit::Month => match (month, day) {
            (_, 1) => first_of(year, month),
            (12, _) => first_of(year + 1, 1),
            _ => first_of(year, month + 1),
        },
        Unit::Week => {
            let start = floor(unit, moment);
            if start.split().0 < days {
                next(unit, start)
            } else {
                start
            }
        }
        // So in Flink, though a date is the start of its day.
        Unit::Day if call.data_type.kind == TypeKind::Date => Moment::new(days + 1, 0),
        _ => {
            let start = floor(unit, moment);
            if start < moment { next(unit, start) } else { start }
        }
    }
}

/// The start of the unit; weeks start on Sunday.
fn floor(unit: Unit, moment: Moment) -> Moment {
    let (days, nanos) = moment.split();
    let (year, month, _) = date::to_civil(days);
    let of_year = |length: i32, first: i32| {
        Moment::new(
            date::from_civil((year - first).div_euclid(length) * length + first, 1, 1),
            0,
        )
    };
    match unit {
        Unit::Millennium => of_year(1000, 1),
        Unit::Century => of_year(100, 1),
        Unit::Decade => of_year(10, 0),
        Unit::Year => of_year(1, 0),
        Unit::Quarter => Moment::new(date::from_civil(year, (month - 1) / 3 * 3 + 1, 1), 0),
        Unit::Month => Moment::new(date::from_civil(year, month, 1), 0),
        Unit::Week => Moment::new(days - (days + 4).rem_euclid(7), 0),
        Unit::Day => Moment::new(days, 0),
        Unit::Millisecond => moment.truncate(3),
        _ => {
            let step = unit.seconds().unwrap_or(1) as u64 * 1_000_000_000;
            debug_assert!(step <= NANOS_PER_DAY);
            Moment::new(days, nanos / step * step)
        }
    }
}

/// The start of the unit behind the one that starts here, of units that have a length.
fn next(unit: Unit, start: Moment) -> Moment {
    if unit == Unit::Millisecond {
        let nanos = start.nanos + 1_000_000;
        return Moment {
            seconds: start.seconds + i64::from(nanos / 1_000_000_000),
            nanos: nanos % 1_000_000_000,
        };
    }
    Moment {
        seconds: start.seconds + unit.seconds().unwrap_or(1),
        nanos: start.nanos,
    }
}

/// A length becomes an end.
fn overlaps_type(args: &mut Vec<Expr>) -> Resolution {
    if args.len() != 4 {
        return Resolution::Mismatch;
    }
    for (start, end) in [(0, 1), (2, 3)] {
        if super::interval::is_interval(kind(&args[end])) {
            match function::call("+", vec![args[start].clone(), args[end].clone()]) {
                Ok(sum) => args[end] = sum,
                Err(_) => return Resolution::Mismatch,
            }
        }
    }
    let types: Vec<DataType> = args.iter().map(|a| a.data_type().clone()).collect();
    match crate::cast::common_type(&types) {
        Some(common) if is_dated(&common.kind) || matches!(common.kind, TypeKind::Time(_)) => {
            args.iter_mut().for_each(|arg| {
                to_kind(arg, &common.kind);
            });
            strict(TypeKind::Boolean, args)
        }
        _ => Resolution::Mismatch,
    }
}

fn overlaps(call: &Call<'_>) -> Result<ArrayRef> {
    let read = (0..4)
        .map(|i| local_reader(call, i))
        .collect::<Result<Vec<_>>>()?;
    booleans(call.rows, |row| {
        let (a, b, c, d) = (read[0](row)?, read[1](row)?, read[2](row)?, read[3](row)?);
        let ((a, b), (c, d)) = ((a.min(b), a.max(b)), (c.min(d), c.max(d)));
        Some(b >= c && d >= a)
    })
}
