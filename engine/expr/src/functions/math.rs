//! Mathematical functions.
//!
//! Digits are Java's: those that it computes by fdlibm come from `libm`, which is a port of it. SIN, COS, TAN, EXP,
//! logarithms and powers are up to the processor in Java too, and may differ in the last digit.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes as a;
use millrace_core::{Error, Result};

use super::support::{
    bigint, double, int, kind, map_double, primitives, strict, string_kind, strings, takes,
};
use super::temporal;
use crate::cast::numeric::double_to_decimal;
use crate::function::{Call, Function, Resolution};
use crate::text::decimal;
use crate::text::decimal::{divide_half_up, power_of_ten};
use crate::value::with_type;
use crate::{DataType, Expr, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager("ABS", "ABS(number)", same_number, abs),
    Function::eager("SIGN", "SIGN(number)", same_number, sign),
    Function::eager(
        "CEIL",
        "CEIL(number), CEIL(date or time TO unit)",
        |args| whole_type(args, "$CEIL"),
        |call| {
            whole(call, f64::ceil, |v, unit| {
                v.div_euclid(unit) + i128::from(v.rem_euclid(unit) != 0)
            })
        },
    ),
    Function::eager(
        "FLOOR",
        "FLOOR(number), FLOOR(date or time TO unit)",
        |args| whole_type(args, "$FLOOR"),
        |call| whole(call, f64::floor, i128::div_euclid),
    ),
    Function::eager("ROUND", "ROUND(number [, INT])", digits_type, |call| {
        digits(call, divide_half_up)
    }),
    Function::eager("TRUNCATE", "TRUNCATE(number [, INT])", digits_type, |call| {
        digits(call, |value, unit| value / unit)
    }),
    Function::eager("POWER", "POWER(number, number)", two_doubles, |call| {
        map_two(call, f64::powf)
    }),
    Function::eager("ATAN2", "ATAN2(number, number)", two_doubles, |call| {
        map_two(call, libm::atan2)
    }),
    Function::eager("SQRT", "SQRT(number)", one_double, |call| {
        // As a power of one half: -0.0 gives 0.0, and the lowest infinity the highest.
        map_double(call, |v| {
            if v == f64::NEG_INFINITY {
                f64::INFINITY
            } else {
                (v + 0.0).sqrt()
            }
        })
    }),
    Function::eager("EXP", "EXP(number)", one_double, |call| {
        map_double(call, f64::exp)
    }),
    Function::eager("LN", "LN(number)", one_double, |call| map_double(call, f64::ln)),
    Function::eager("LOG2", "LOG2(number)", one_double, |call| {
        map_double(call, |v| v.ln() / 2f64.ln())
    }),
    Function::eager("LOG10", "LOG10(number)", one_double, |call| {
        map_double(call, libm::log10)
    }),
    Function::eager(
        "LOG",
        "LOG(number), LOG(base, number)",
        log_type,
        |call| match call.args.len() {
            1 => map_double(call, f64::ln),
            _ => map_two(call, |base, value| value.ln() / base.ln()),
        },
    ),
    Function::eager("SIN", "SIN(number)", one_double, |call| {
        map_double(call, f64::sin)
    }),
    Function::eager("COS", "COS(number)", one_double, |call| {
        map_double(call, f64::cos)
    }),
    Function::eager("TAN", "TAN(number)", one_double, |call| {
        map_double(call, f64::tan)
    }),
    Function::eager("COT", "COT(number)", one_double, |call| {
        map_double(call, |v| 1.0 / v.tan())
    }),
    Function::eager("ASIN", "ASIN(number)", one_double, |call| {
        map_double(call, libm::asin)
    }),
    Function::eager("ACOS", "ACOS(number)", one_double, |call| {
        map_double(call, libm::acos)
    }),
    Function::eager("ATAN", "ATAN(number)", one_double, |call| {
        map_double(call, libm::atan)
    }),
    Function::eager("SINH", "SINH(number)", one_double, |call| {
        map_double(call, libm::sinh)
    }),
    Function::eager("COSH", "COSH(number)", one_double, |call| map_double(call, cosh)),
    Function::eager("TANH", "TANH(number)", one_double, |call| map_double(call, tanh)),
    Function::eager("DEGREES", "DEGREES(number)", one_double, |call| {
        map_double(call, |v| v * (180.0 / std::f64::consts::PI))
    }),
    Function::eager("RADIANS", "RADIANS(number)", one_double, |call| {
        map_double(call, |v| v * (std::f64::consts::PI / 180.0))
    }),
    Function::eager("PI", "PI()", constant_type, |call| {
        constant(call, std::f64::consts::PI)
    }),
    Function::eager("E", "E()", constant_type, |call| {
        constant(call, std::f64::consts::E)
    }),
    Function::eager("BIN", "BIN(integer)", bin_type, |call| {
        let values = call.args[0].primitives::<a::Int64Type>();
        strings(call.rows, |row, out| {
            values.get(row).is_some_and(|v| {
                out.extend_from_slice(format!("{v:b}").as_bytes());
                true
            })
        })
    }),
];

/// As fdlibm, and so Java, computes it.
fn cosh(value: f64) -> f64 {
    let x = value.abs();
    if x < 0.5 * std::f64::consts::LN_2 {
        let t = libm::expm1(x);
        let w = 1.0 + t;
        return 1.0 + (t * t) / (w + w);
    }
    libm::cosh(x)
}

/// As fdlibm, and so Java, computes it.
fn tanh(value: f64) -> f64 {
    let x = value.abs();
    let z = match x {
        _ if x.is_nan() => return value,
        ..1.0 => {
            // Smaller ones are themselves.
            if x < 2f64.powi(-55) {
                return value * (1.0 + value);
            }
            let t = libm::expm1(-2.0 * x);
            -t / (t + 2.0)
        }
        ..22.0 => 1.0 - 2.0 / (libm::expm1(2.0 * x) + 2.0),
        _ => 1.0,
    };
    z.copysign(value)
}

fn same_number(args: &mut Vec<Expr>) -> Resolution {
    match args.as_slice() {
        [arg] if arg.data_type().is_numeric() => Resolution::Type(arg.data_type().clone()),
        _ => Resolution::Mismatch,
    }
}

fn whole_type(args: &mut Vec<Expr>, to_unit: &str) -> Resolution {
    match args.as_slice() {
        [arg] => match kind(arg) {
            TypeKind::Decimal { precision, .. } => strict(
                TypeKind::Decimal {
                    precision: *precision,
                    scale: 0,
                },
                args,
            ),
            _ if arg.data_type().is_numeric() => Resolution::Type(arg.data_type().clone()),
            _ => Resolution::Mismatch,
        },
        [_, _] => temporal::resolve_round(args, to_unit),
        _ => Resolution::Mismatch,
    }
}

fn digits_type(args: &mut Vec<Expr>) -> Resolution {
    let fits = match args.as_mut_slice() {
        [value] => value.data_type().is_numeric(),
        [value, places] => value.data_type().is_numeric() && int(places),
        _ => false,
    };
    if !fits {
        return Resolution::Mismatch;
    }
    let kind = match kind(&args[0]) {
        TypeKind::Decimal { precision, scale } => {
            // How many digits stay is known of a literal only.
            let places = match args.get(1) {
                None => Some(0),
                Some(places) => super::support::literal_integer(places),
            };
            match places {
                Some(places) => rounded_decimal(*precision, *scale, places),
                None => TypeKind::Decimal {
                    precision: *precision,
                    scale: *scale,
                },
            }
        }
        other => other.clone(),
    };
    strict(kind, args)
}

fn rounded_decimal(precision: u8, scale: u8, places: i64) -> TypeKind {
    if places >= i64::from(scale) {
        return TypeKind::Decimal { precision, scale };
    }
    let whole = precision - scale + 1;
    if places < 0 {
        return TypeKind::Decimal {
            precision: whole.min(38),
            scale: 0,
        };
    }
    TypeKind::Decimal {
        precision: (whole + places as u8).min(38),
        scale: places as u8,
    }
}

fn one_double(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[double]) {
        return Resolution::Mismatch;
    }
    strict(TypeKind::Double, args)
}

fn two_doubles(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 2 && args.iter_mut().all(double) {
        strict(TypeKind::Double, args)
    } else {
        Resolution::Mismatch
    }
}

fn log_type(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 1 {
        one_double(args)
    } else {
        two_doubles(args)
    }
}

fn constant_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() {
        strict(TypeKind::Double, args)
    } else {
        Resolution::Mismatch
    }
}

fn bin_type(args: &mut Vec<Expr>) -> Resolution {
    if takes(args, &[bigint]) {
        strict(string_kind(), args)
    } else {
        Resolution::Mismatch
    }
}

fn abs(call: &Call<'_>) -> Result<ArrayRef> {
    numbers(call, |v| v.wrapping_abs(), f64::abs, i128::abs)
}

fn sign(call: &Call<'_>) -> Result<ArrayRef> {
    let unit = match call.data_type.kind {
        TypeKind::Decimal { scale, .. } => power_of_ten(scale),
        _ => 1,
    };
    let of_double = |v: f64| {
        if v > 0.0 {
            1.0
        } else if v < 0.0 {
            -1.0
        } else {
            v
        }
    };
    numbers(call, |v| v.signum(), of_double, |v| v.signum() * unit)
}

/// Applies a function to numbers of any type, which stays.
fn numbers(
    call: &Call<'_>,
    integer: impl Fn(i64) -> i64,
    float: impl Fn(f64) -> f64,
    decimal: impl Fn(i128) -> i128,
) -> Result<ArrayRef> {
    let array = call.args[0].inner();
    let result: ArrayRef = match call.data_type.kind {
        TypeKind::TinyInt => Arc::new(
            array
                .as_primitive::<a::Int8Type>()
                .unary::<_, a::Int8Type>(|v| integer(v.into()) as i8),
        ),
        TypeKind::SmallInt => Arc::new(
            array
                .as_primitive::<a::Int16Type>()
                .unary::<_, a::Int16Type>(|v| integer(v.into()) as i16),
        ),
        TypeKind::Int => Arc::new(
            array
                .as_primitive::<a::Int32Type>()
                .unary::<_, a::Int32Type>(|v| integer(v.into()) as i32),
        ),
        TypeKind::BigInt => Arc::new(
            array
                .as_primitive::<a::Int64Type>()
                .unary::<_, a::Int64Type>(integer),
        ),
        TypeKind::Float => Arc::new(
            array
                .as_primitive::<a::Float32Type>()
                .unary::<_, a::Float32Type>(|v| float(v.into()) as f32),
        ),
        TypeKind::Double => Arc::new(
            array
                .as_primitive::<a::Float64Type>()
                .unary::<_, a::Float64Type>(float),
        ),
        TypeKind::Decimal { .. } => Arc::new(
            array
                .as_primitive::<a::Decimal128Type>()
                .unary::<_, a::Decimal128Type>(decimal),
        ),
        _ => return Err(Error::internal("a function of numbers over another type")),
    };
    with_type(result, &call.data_type.to_arrow())
}

/// To a whole number: `decimal` takes an unscaled value and the value of one.
fn whole(
    call: &Call<'_>,
    float: impl Fn(f64) -> f64,
    decimal: impl Fn(i128, i128) -> i128,
) -> Result<ArrayRef> {
    let unit = match call.arg_types[0].kind {
        TypeKind::Decimal { scale, .. } => power_of_ten(scale),
        _ => 1,
    };
    numbers(call, |v| v, float, |v| decimal(v, unit))
}

/// Keeps a number of decimal places, of the digits before the point where it is negative.
fn digits(call: &Call<'_>, divide: impl Fn(i128, i128) -> i128) -> Result<ArrayRef> {
    let places = call.args.get(1).map(|v| v.primitives::<a::Int32Type>());
    let places = |row: usize| places.as_ref().map_or(Some(0), |p| p.get(row));
    // The value of the digits that go, and what is left moved back.
    let cut = |value: i128, drop: i64| match drop {
        ..=0 => value,
        1..=38 => {
            let unit = power_of_ten(drop as u8);
            divide(value, unit) * unit
        }
        _ => 0,
    };
    let value = &call.args[0];
    let array = match (&call.arg_types[0].kind, &call.data_type.kind) {
        (TypeKind::Decimal { scale, .. }, TypeKind::Decimal { precision, scale: to }) => {
            let values = value.primitives::<a::Decimal128Type>();
            primitives::<a::Decimal128Type>(call.rows, |row| {
                let rounded = cut(values.get(row)?, i64::from(*scale) - i64::from(places(row)?));
                decimal::rescale(rounded, *scale, *precision, *to)
            })?
        }
        (TypeKind::Double, _) => {
            let values = value.primitives::<a::Float64Type>();
            primitives::<a::Float64Type>(call.rows, |row| {
                Some(round_double(values.get(row)?, places(row)?, &divide))
            })?
        }
        (TypeKind::Float, _) => {
            let values = value.primitives::<a::Float32Type>();
            primitives::<a::Float32Type>(call.rows, |row| {
                // By the digits of the double that it is as well, as in Flink.
                let wide = f64::from(values.get(row)?);
                Some(round_double(wide, places(row)?, &divide) as f32)
            })?
        }
        _ => {
            let values = value.integers()?;
            let wide = primitives::<a::Int64Type>(call.rows, |row| {
                Some(cut(values.get(row)?.into(), -i64::from(places(row)?)) as i64)
            })?;
            let nullable = DataType::bigint();
            return crate::cast::evaluate(&wide, &nullable, call.data_type, false, call.session);
        }
    };
    with_type(array, &call.data_type.to_arrow())
}

/// By the decimal digits that the number is written with.
fn round_double(value: f64, places: i32, divide: &impl Fn(i128, i128) -> i128) -> f64 {
    // Numbers beyond 17 digits have none behind the point.
    const SCALE: u8 = 18;
    if !value.is_finite() || value.abs() >= 1e18 || places >= i32::from(SCALE) {
        return value;
    }
    let Some(unscaled) = double_to_decimal(value, 38, SCALE) else {
        return value;
    };
    let drop = i32::from(SCALE) - places;
    if drop > 38 {
        return 0.0;
    }
    let unit = power_of_ten(drop as u8);
    decimal::to_double(divide(unscaled, unit) * unit, SCALE)
}

fn map_two(call: &Call<'_>, f: impl Fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (left, right) = (
        call.args[0].primitives::<a::Float64Type>(),
        call.args[1].primitives::<a::Float64Type>(),
    );
    primitives::<a::Float64Type>(call.rows, |row| Some(f(left.get(row)?, right.get(row)?)))
}

fn constant(call: &Call<'_>, value: f64) -> Result<ArrayRef> {
    primitives::<a::Float64Type>(call.rows, |_| Some(value))
}
