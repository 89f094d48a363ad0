//! Literals: numbers, texts, dates and times, intervals.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use millrace_expr::types::timestamp_unit;
use millrace_expr::{DataType, Expr, Scalar, TypeKind};
use sqlparser::ast::{DateTimeField, Expr as Ast, Interval, UnaryOperator, Value};
use sqlparser::tokenizer::Span;

use crate::error::{Result, SqlError};

fn literal(value: Scalar, kind: TypeKind) -> Expr {
    Expr::literal(value, DataType::not_null(kind))
}

/// A text of exactly its own length, as Flink types it: `CHAR(n) NOT NULL`.
pub(super) fn string(text: &str) -> Expr {
    let length = u32::try_from(text.chars().count()).unwrap_or(millrace_expr::types::MAX_LENGTH);
    literal(Scalar::String(text.to_owned()), TypeKind::Char(length))
}

pub(super) fn null() -> Expr {
    Expr::literal(Scalar::Null, DataType::nullable(TypeKind::Null))
}

pub(super) fn value(value: &Value, at: Span) -> Result<Expr> {
    match value {
        Value::Number(text, false) => number(text, at),
        Value::SingleQuotedString(text) | Value::UnicodeStringLiteral(text) => Ok(string(text)),
        Value::HexStringLiteral(text) => {
            let bytes = hex(text).ok_or_else(|| {
                SqlError::new("a binary literal takes an even number of hexadecimal digits", at)
            })?;
            let length = u32::try_from(bytes.len()).unwrap_or(millrace_expr::types::MAX_LENGTH);
            Ok(literal(Scalar::Bytes(bytes), TypeKind::Binary(length)))
        }
        Value::Boolean(b) => Ok(literal(Scalar::Boolean(*b), TypeKind::Boolean)),
        Value::Null => Ok(null()),
        Value::NationalStringLiteral(_) => Err(SqlError::unsupported("a text with N before it", at)),
        _ => Err(SqlError::new("this is no literal of Flink SQL", at)),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok())
        .collect()
}

/// INT or BIGINT by size, DECIMAL with digits behind the point, DOUBLE with an exponent. Flink
/// has no literals whose digits make more than a BIGINT.
pub(super) fn number(text: &str, at: Span) -> Result<Expr> {
    if text.contains(['e', 'E']) {
        return match text.parse::<f64>() {
            Ok(v) if v.is_finite() => Ok(literal(Scalar::Double(v), TypeKind::Double)),
            _ => Err(SqlError::new(format!("the number {text} is out of range"), at)),
        };
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let Ok(unscaled) = format!("{whole}{fraction}").parse::<i64>() else {
        return Err(
            SqlError::new(format!("the number {text} is out of range"), at).with_hint(format!(
                "larger ones are CAST from a text: CAST('{text}' AS DECIMAL(38, {}))",
                fraction.len()
            )),
        );
    };
    if fraction.is_empty() {
        let kind = match i32::try_from(unscaled) {
            Ok(_) => TypeKind::Int,
            Err(_) => TypeKind::BigInt,
        };
        return Ok(literal(Scalar::Integer(unscaled), kind));
    }
    let digits = whole.trim_start_matches('-').len() + fraction.len();
    let kind = TypeKind::Decimal {
        precision: digits.clamp(1, 38) as u8,
        scale: fraction.len().min(38) as u8,
    };
    Ok(literal(Scalar::Decimal(unscaled.into()), kind))
}

/// A number that is written behind a minus: the sign is part of it, so that the least INT and
/// BIGINT can be written.
pub(super) fn negative(operand: &Ast) -> Result<Option<Expr>> {
    let mut negative = true;
    let mut operand = operand;
    loop {
        match operand {
            Ast::Nested(inner) => operand = inner,
            Ast::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } => {
                negative = !negative;
                operand = expr;
            }
            Ast::Value(v) => {
                let Value::Number(text, false) = &v.value else {
                    return Ok(None);
                };
                let sign = if negative { "-" } else { "" };
                return number(&format!("{sign}{text}"), v.span).map(Some);
            }
            _ => return Ok(None),
        }
    }
}

/// `DATE '2013-01-01'`.
pub(super) fn date(text: &str, at: Span) -> Result<Expr> {
    let days = parse_date(text).ok_or_else(|| wrong("DATE", "2013-01-31", text, at))?;
    Ok(literal(
        Scalar::Date(days.signed_duration_since(NaiveDate::default()).num_days() as i32),
        TypeKind::Date,
    ))
}

/// `TIME '12:30:00.5'`: always of the type TIME(0), though milliseconds are kept, as in Flink.
pub(super) fn time(text: &str, at: Span) -> Result<Expr> {
    let (time, _) = parse_time(text).ok_or_else(|| wrong("TIME", "12:30:00", text, at))?;
    let millis = time.num_seconds_from_midnight() * 1000 + time.nanosecond() / 1_000_000;
    Ok(literal(Scalar::Time(millis as i32), TypeKind::Time(0)))
}

/// `TIMESTAMP '2013-01-01 12:30:00.123'`, of the precision that it is written with; a date alone
/// is its midnight.
pub(super) fn timestamp(text: &str, at: Span) -> Result<Expr> {
    use arrow::datatypes::TimeUnit;
    let wrong = || wrong("TIMESTAMP", "2013-01-31 12:30:00", text, at);
    let (date, time) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let (time, digits) = parse_time(time).ok_or_else(wrong)?;
    let moment = NaiveDateTime::new(parse_date(date).ok_or_else(wrong)?, time).and_utc();
    let value = match timestamp_unit(digits) {
        TimeUnit::Microsecond => moment.timestamp_micros(),
        TimeUnit::Nanosecond => moment
            .timestamp_nanos_opt()
            .ok_or_else(|| SqlError::new(format!("the timestamp '{text}' is out of range"), at))?,
        _ => moment.timestamp_millis(),
    };
    Ok(literal(Scalar::Timestamp(value), TypeKind::Timestamp(digits)))
}

fn wrong(kind: &str, example: &str, text: &str, at: Span) -> SqlError {
    SqlError::new(format!("'{text}' is no {kind}"), at).with_hint(format!("it is written {kind} '{example}'"))
}

fn parse_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.splitn(3, '-');
    let mut part = |max: usize| {
        let p = parts.next()?;
        (1..=max)
            .contains(&p.len())
            .then(|| p.parse::<u32>().ok())
            .flatten()
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    NaiveDate::from_ymd_opt(year as i32, month, day)
}

/// A time of the day and how many digits its fraction has; more than nine are cut.
fn parse_time(text: &str) -> Option<(NaiveTime, u8)> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(9)];
    let mut parts = clock.splitn(3, ':');
    let mut part = || {
        let p = parts.next()?;
        (1..=2)
            .contains(&p.len())
            .then(|| p.parse::<u32>().ok())
            .flatten()
    };
    let (hour, minute, second) = (part()?, part()?, part()?);
    let nanos = format!("{fraction:0<9}").parse::<u32>().ok()?;
    let time = NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?;
    Some((time, fraction.len() as u8))
}

/// `INTERVAL '1-2' YEAR TO MONTH`, `INTERVAL -'5' SECOND`.
pub(super) fn interval(interval: &Interval, at: Span) -> Result<Expr> {
    let (text, negative) = match interval.value.as_ref() {
        Ast::Value(v) => (&v.value, false),
        Ast::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Ast::Value(v) => (&v.value, true),
            _ => return Err(interval_form(at)),
        },
        _ => return Err(interval_form(at)),
    };
    let Value::SingleQuotedString(text) = text else {
        return Err(interval_form(at));
    };
    let Some(first) = &interval.leading_field else {
        return Err(SqlError::new("an interval needs its unit", at).with_hint("write INTERVAL '5' SECOND"));
    };
    let (text, negative) = match text.trim().strip_prefix('-') {
        Some(rest) => (rest, !negative),
        None => (text.trim().strip_prefix('+').unwrap_or(text.trim()), negative),
    };
    let wrong = || {
        SqlError::new(format!("'{text}' does not fit the interval's units"), at)
            .with_hint("for example INTERVAL '10' DAY, '1-2' YEAR TO MONTH, '1 02:03:04.5' DAY TO SECOND")
    };
    let first = Unit::of(first).ok_or_else(|| SqlError::new("an interval has no such unit", at))?;
    let last = match &interval.last_field {
        None => first,
        Some(field) => Unit::of(field).ok_or_else(|| SqlError::new("an interval has no such unit", at))?,
    };
    check_precision(text, interval.leading_precision, first, at)?;
    let amount = amount(text, first, last).ok_or_else(wrong)?;
    let amount = if negative { -amount } else { amount };
    if matches!(first, Unit::Year | Unit::Quarter | Unit::Month) {
        let months = i32::try_from(amount).map_err(|_| wrong())?;
        Ok(literal(Scalar::Months(months), TypeKind::IntervalYearMonth))
    } else {
        Ok(literal(Scalar::Millis(amount), TypeKind::IntervalDaySecond))
    }
}

/// Digits that the first field of an interval has at most, where nothing else is written.
const PRECISION: u64 = 2;
const HIGHEST_PRECISION: u64 = 10;

/// Whether the first field of an interval fits: `INTERVAL '100' DAY` does not, `DAY(3)` takes it.
fn check_precision(text: &str, given: Option<u64>, unit: Unit, at: Span) -> Result<()> {
    let precision = given.unwrap_or(PRECISION);
    if !(1..=HIGHEST_PRECISION).contains(&precision) {
        return Err(SqlError::new(
            format!("the precision of an interval is 1 to {HIGHEST_PRECISION}, not {precision}"),
            at,
        ));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let field = text[..digits].trim_start_matches('0');
    if field.len() as u64 <= precision {
        return Ok(());
    }
    let name = format!("{unit:?}").to_uppercase();
    Err(SqlError::new(
        format!("the field {field} of the interval exceeds the precision of {name}({precision})"),
        at,
    )
    .with_hint(format!(
        "write {name}({}) for the unit, or a larger unit",
        field.len()
    )))
}

fn interval_form(at: Span) -> SqlError {
    SqlError::new("an interval takes a text", at).with_hint("write INTERVAL '5' SECOND")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
}

impl Unit {
    fn of(field: &DateTimeField) -> Option<Unit> {
        Some(match field {
            DateTimeField::Year | DateTimeField::Years => Unit::Year,
            DateTimeField::Quarter => Unit::Quarter,
            DateTimeField::Month | DateTimeField::Months => Unit::Month,
            DateTimeField::Week(None) | DateTimeField::Weeks => Unit::Week,
            DateTimeField::Day | DateTimeField::Days => Unit::Day,
            DateTimeField::Hour | DateTimeField::Hours => Unit::Hour,
            DateTimeField::Minute | DateTimeField::Minutes => Unit::Minute,
            DateTimeField::Second | DateTimeField::Seconds => Unit::Second,
            _ => return None,
        })
    }

    /// In months or in milliseconds.
    fn size(self) -> i64 {
        match self {
            Unit::Year => 12,
            Unit::Quarter => 3,
            Unit::Month => 1,
            Unit::Week => 7 * 86_400_000,
            Unit::Day => 86_400_000,
            Unit::Hour => 3_600_000,
            Unit::Minute => 60_000,
            Unit::Second => 1000,
        }
    }
}

/// The amount in months or milliseconds; none if the text does not fit its units.
fn amount(text: &str, first: Unit, last: Unit) -> Option<i64> {
    let units: &[Unit] = match (first, last) {
        (a, b) if a == b => {
            return if a == Unit::Second {
                seconds(text)
            } else {
                part(text)?.checked_mul(a.size())
            };
        }
        (Unit::Year, Unit::Month) => &[Unit::Year, Unit::Month],
        (Unit::Day | Unit::Hour | Unit::Minute, Unit::Hour | Unit::Minute | Unit::Second) if first < last => {
            let all = &[Unit::Day, Unit::Hour, Unit::Minute, Unit::Second];
            let from = all.iter().position(|u| *u == first)?;
            let to = all.iter().position(|u| *u == last)?;
            &all[from..=to]
        }
        _ => return None,
    };
    let mut rest = text;
    let mut total = 0i64;
    for (i, unit) in units.iter().enumerate() {
        let separator = match unit {
            Unit::Year => '-',
            Unit::Day => ' ',
            _ => ':',
        };
        let token = if i + 1 == units.len() {
            rest
        } else {
            let (token, tail) = rest.split_once(separator)?;
            rest = tail.trim_start();
            token
        };
        let value = match unit {
            Unit::Second => seconds(token)?,
            _ => part(token)?.checked_mul(unit.size())?,
        };
        // Only the first field may be larger than the next unit holds.
        let limit = match unit {
            Unit::Month => 12,
            Unit::Hour => 24 * unit.size(),
            Unit::Minute | Unit::Second => 60 * unit.size(),
            _ => i64::MAX,
        };
        if i > 0 && value >= limit {
            return None;
        }
        total = total.checked_add(value)?;
    }
    Some(total)
}

fn part(text: &str) -> Option<i64> {
    let digits = text.trim();
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

/// Seconds with a fraction, in milliseconds.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_types_that_flink_gives_them() {
        for (text, shown) in [
            ("0", "INT NOT NULL"),
            ("2147483647", "INT NOT NULL"),
            ("2147483648", "BIGINT NOT NULL"),
            ("-2147483648", "INT NOT NULL"),
            ("-9223372036854775808", "BIGINT NOT NULL"),
            ("7.", "INT NOT NULL"),
            ("1.50", "DECIMAL(3, 2) NOT NULL"),
            (".5", "DECIMAL(1, 1) NOT NULL"),
            ("1e3", "DOUBLE NOT NULL"),
        ] {
            let e = number(text, Span::empty()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(e.data_type().to_string(), shown, "{text}");
        }
        assert!(number("9223372036854775808", Span::empty()).is_err());
        assert!(number("12345678901234567890.5", Span::empty()).is_err());
        assert!(number("1e999", Span::empty()).is_err());
    }

    #[test]
    fn intervals_in_months_and_milliseconds() {
        assert_eq!(amount("2", Unit::Year, Unit::Year), Some(24));
        assert_eq!(amount("1-2", Unit::Year, Unit::Month), Some(14));
        assert_eq!(amount("1-12", Unit::Year, Unit::Month), None);
        assert_eq!(amount("5", Unit::Second, Unit::Second), Some(5000));
        assert_eq!(amount("5.25", Unit::Second, Unit::Second), Some(5250));
        assert_eq!(
            amount("1 02:03:04.005", Unit::Day, Unit::Second),
            Some(93_784_005)
        );
        assert_eq!(amount("90:30", Unit::Minute, Unit::Second), Some(5_430_000));
        assert_eq!(amount("1 24", Unit::Day, Unit::Hour), None);
        assert_eq!(amount("x", Unit::Day, Unit::Day), None);
        assert_eq!(amount("", Unit::Second, Unit::Second), None);
        assert_eq!(amount("1", Unit::Second, Unit::Day), None);
    }

    #[test]
    fn dates_and_times() {
        let show = |e: Result<Expr>| match e {
            Ok(Expr::Literal { value, data_type }) => format!("{value:?} {data_type}"),
            other => format!("{other:?}"),
        };
        let at = Span::empty();
        assert_eq!(show(date("1970-01-02", at)), "Date(1) DATE NOT NULL");
        assert_eq!(show(time("00:00:01.5", at)), "Time(1500) TIME(0) NOT NULL");
        assert_eq!(
            show(timestamp("1970-01-02", at)),
            "Timestamp(86400000) TIMESTAMP(0) NOT NULL"
        );
        assert_eq!(
            show(timestamp("1970-01-01 00:00:01", at)),
            "Timestamp(1000) TIMESTAMP(0) NOT NULL"
        );
        assert_eq!(
            show(timestamp("1970-01-01 00:00:01.0005", at)),
            "Timestamp(1000500) TIMESTAMP(4) NOT NULL"
        );
        for wrong in ["2013-02-30", "13", "2013-1", ""] {
            assert!(date(wrong, at).is_err(), "{wrong}");
            assert!(timestamp(wrong, at).is_err(), "{wrong}");
            assert!(timestamp(&format!("{wrong} 00:00:00"), at).is_err(), "{wrong}");
        }
        assert!(time("24:00:00", at).is_err());
    }
}
