//! CASE, IF, COALESCE, NULLIF, GREATEST, LEAST and TYPEOF.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use millrace_core::Result;

use super::comparison::align;
use super::support::{boolean, kind, strings, to_kind};
use crate::cast::common_type;
use crate::function::{Call, Function, Lazy, Resolution};
use crate::value::arrow_error;
use crate::{DataType, Expr, Scalar, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::lazy(
        "CASE",
        "CASE WHEN BOOLEAN THEN any ... ELSE any END, all of one common type",
        case,
        Lazy::Case,
    ),
    Function::lazy(
        "IF",
        "IF(BOOLEAN, any, any of a common type)",
        condition,
        Lazy::If,
    ),
    Function::lazy(
        "COALESCE",
        "COALESCE(any, ...), all of one common type",
        coalesce,
        Lazy::Coalesce,
    ),
    Function::lazy(
        "IFNULL",
        "IFNULL(any, any of a common type)",
        if_null,
        Lazy::Coalesce,
    ),
    Function::lazy("NULLIF", "NULLIF(any, comparable)", null_if, Lazy::NullIf),
    Function::eager(
        "GREATEST",
        "GREATEST(comparable, ...), all of one common type",
        extreme,
        |call| choose(call, Ordering::Greater),
    ),
    Function::eager(
        "LEAST",
        "LEAST(comparable, ...), all of one common type",
        extreme,
        |call| choose(call, Ordering::Less),
    ),
    Function::eager(
        "TYPEOF",
        "TYPEOF(any), TYPEOF(any, BOOLEAN literal)",
        type_of,
        |call| {
            let text = call.args[0].strings();
            strings(call.rows, |row, out| {
                text.get(row).is_some_and(|t| {
                    out.extend_from_slice(t.as_bytes());
                    true
                })
            })
        },
    ),
];

/// Casts all these arguments to their common type.
fn unify<'a>(args: impl Iterator<Item = &'a mut Expr>) -> Option<DataType> {
    let args: Vec<&mut Expr> = args.collect();
    let types: Vec<DataType> = args.iter().map(|a| a.data_type().clone()).collect();
    let common = common_type(&types)?;
    for arg in args {
        to_kind(arg, &common.kind);
    }
    Some(common)
}

fn case(args: &mut Vec<Expr>) -> Resolution {
    if args.len() < 2 {
        return Resolution::Mismatch;
    }
    // Without ELSE what is left is NULL.
    if args.len().is_multiple_of(2) {
        args.push(Expr::literal(Scalar::Null, DataType::nullable(TypeKind::Null)));
    }
    let last = args.len() - 1;
    if !args[..last].iter_mut().step_by(2).all(boolean) {
        return Resolution::Mismatch;
    }
    unify(
        args.iter_mut()
            .enumerate()
            .filter(|(i, _)| i % 2 == 1 || *i == last)
            .map(|(_, a)| a),
    )
    .into()
}

fn condition(args: &mut Vec<Expr>) -> Resolution {
    let [condition, values @ ..] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if values.len() != 2 || !boolean(condition) {
        return Resolution::Mismatch;
    }
    unify(values.iter_mut()).into()
}

fn coalesce(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() {
        return Resolution::Mismatch;
    }
    let nullable = args.iter().all(|a| a.data_type().nullable);
    unify(args.iter_mut()).map(|t| t.with_nullable(nullable)).into()
}

fn if_null(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 2 {
        coalesce(args)
    } else {
        Resolution::Mismatch
    }
}

fn null_if(args: &mut Vec<Expr>) -> Resolution {
    let [value, other] = args.as_slice() else {
        return Resolution::Mismatch;
    };
    // The casts of the comparison are made when it is compiled; here they are only tried.
    if align(&mut value.clone(), &mut other.clone()) {
        Resolution::Type(value.data_type().clone().with_nullable(true))
    } else {
        Resolution::Mismatch
    }
}

fn extreme(args: &mut Vec<Expr>) -> Resolution {
    let nested = |k: &TypeKind| {
        matches!(
            k,
            TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_)
        )
    };
    if args.is_empty() || args.iter().any(|a| nested(kind(a))) {
        return Resolution::Mismatch;
    }
    unify(args.iter_mut()).into()
}

/// NULL as soon as one argument is.
fn choose(call: &Call<'_>, wanted: Ordering) -> Result<ArrayRef> {
    let arrays: Vec<&dyn Array> = call.args.iter().map(|v| v.inner().as_ref()).collect();
    let mut comparators = Vec::new();
    for left in &arrays {
        let mut row = Vec::new();
        for right in &arrays {
            let options = arrow::compute::SortOptions::default();
            row.push(arrow::array::make_comparator(*left, *right, options).map_err(arrow_error)?);
        }
        comparators.push(row);
    }
    let null = arrow::array::new_null_array(&call.data_type.to_arrow(), 1);
    let mut sources = arrays;
    let null_index = sources.len();
    sources.push(null.as_ref());
    let places: Vec<(usize, usize)> = (0..call.rows)
        .map(|row| {
            if call.args.iter().any(|v| v.is_null(row)) {
                return (null_index, 0);
            }
            let mut best = 0;
            for (i, row_of) in comparators.iter().enumerate().skip(1) {
                if row_of[best](call.args[i].index(row), call.args[best].index(row)) == wanted {
                    best = i;
                }
            }
            (best, call.args[best].index(row))
        })
        .collect();
    arrow::compute::interleave(&sources, &places).map_err(arrow_error)
}

/// The type is known here, so the call becomes a literal.
fn type_of(args: &mut Vec<Expr>) -> Resolution {
    let text = match args.as_slice() {
        [arg] => type_text(arg.data_type(), false),
        [
            arg,
            Expr::Literal {
                value: Scalar::Boolean(serializable),
                ..
            },
        ] => type_text(arg.data_type(), *serializable),
        _ => return Resolution::Mismatch,
    };
    Resolution::Rewritten(Expr::literal(Scalar::String(text), DataType::string()))
}

/// A type as Flink writes it: shortly, or as SQL says it in full.
fn type_text(data_type: &DataType, serializable: bool) -> String {
    let inner = |data_type: &DataType| type_text(data_type, serializable);
    let kind = match &data_type.kind {
        TypeKind::Varchar(length) if serializable => format!("VARCHAR({length})"),
        TypeKind::Varbinary(length) if serializable => format!("VARBINARY({length})"),
        TypeKind::TimestampLtz(precision) if serializable => {
            format!("TIMESTAMP({precision}) WITH LOCAL TIME ZONE")
        }
        TypeKind::IntervalYearMonth => "INTERVAL MONTH".to_owned(),
        TypeKind::IntervalDaySecond => "INTERVAL SECOND(3)".to_owned(),
        TypeKind::Array(element) => format!("ARRAY<{}>", inner(element)),
        TypeKind::Multiset(element) => format!("MULTISET<{}>", inner(element)),
        TypeKind::Map(key, value) => format!("MAP<{}, {}>", inner(key), inner(value)),
        TypeKind::Row(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| format!("`{}` {}", field.name, inner(&field.data_type)))
                .collect();
            format!("ROW<{}>", fields.join(", "))
        }
        other => other.to_string(),
    };
    format!("{kind}{}", if data_type.nullable { "" } else { " NOT NULL" })
}
