//! Goldens judged: an expression evaluated as it is, and with its literals in columns. Shared with
//! the tests of millrace-sql, which take the same files through real SQL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Field, Schema};
use millrace_core::Result;
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_expr::{DataType, Expr, cast, text};

pub fn run(expr: &Expr, columns: Vec<ArrayRef>, rows: usize, session: &Session) -> Result<ArrayRef> {
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| Field::new(format!("c{i}"), column.data_type().clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap();
    Program::compile(expr, session)?.evaluate(&batch, &Evaluation { now_millis: 0 })
}

pub fn shown(expr: &Expr, columns: Vec<ArrayRef>, rows: usize, session: &Session) -> String {
    // As CAST(... AS STRING) of what is already a string.
    let string = DataType::string();
    let result = cast::cast(expr.clone(), string).and_then(|expr| run(&expr, columns, rows, session));
    let array = match result {
        Ok(array) => array,
        Err(_) => return "ERROR".to_owned(),
    };
    let value = |row: usize| {
        if array.is_null(row) {
            "NULL".to_owned()
        } else {
            format!("'{}'", array.as_string::<i32>().value(row))
        }
    };
    assert_eq!(value(0), value(rows - 1), "rows of equal values");
    value(0)
}

/// What the second row of the columns holds.
#[derive(Clone, Copy)]
enum Middle {
    Null,
    Same,
}

fn is_nested(expr: &Expr) -> bool {
    let mut nested = false;
    expr.walk(&mut |e| {
        nested |=
            matches!(e, Expr::Call { function, .. } if ["ARRAY", "MAP", "ROW"].contains(&function.as_str()));
    });
    nested
}

/// Moves the literals that stand where a column may stand into columns of three rows.
fn into_columns(expr: &Expr, columns: &mut Vec<ArrayRef>, middle: Middle, session: &Session) -> Expr {
    match expr {
        Expr::Literal { data_type, .. } => {
            let one = run(expr, vec![], 1, session).unwrap();
            let none = match middle {
                Middle::Null => new_null_array(one.data_type(), 1),
                Middle::Same => one.clone(),
            };
            let three = arrow::compute::concat(&[one.as_ref(), none.as_ref(), one.as_ref()]).unwrap();
            columns.push(three);
            Expr::column(columns.len() - 1, data_type.clone())
        }
        Expr::Call {
            function,
            args,
            data_type,
        } => {
            let must_be_literal = |index: usize| match function.as_str() {
                "EXTRACT" | "TIMESTAMPDIFF" | "TRIM" => index == 0,
                "FIELD" | "$FLOOR" | "$CEIL" | "LIKE" | "NOT LIKE" => index == 1,
                "ROUND" | "TRUNCATE" => index == 1,
                "STR_TO_MAP" => index > 0,
                "$JSON_VALUE" => matches!(index, 2 | 3 | 5),
                "$JSON_QUERY" | "$JSON_EXISTS" => index > 1,
                "$JSON_OBJECT" => index % 3 != 2,
                "$JSON_ARRAY" => index.is_multiple_of(2),
                "JSON_STRING" => index == 1,
                "MAP" => index.is_multiple_of(2),
                _ => false,
            };
            let args = args
                .iter()
                .enumerate()
                .map(|(i, arg)| {
                    if must_be_literal(i) {
                        arg.clone()
                    } else {
                        into_columns(arg, columns, middle, session)
                    }
                })
                .collect();
            // Results may become null with their arguments.
            Expr::Call {
                function: function.clone(),
                args,
                data_type: data_type.clone(),
            }
        }
        Expr::Cast {
            expr,
            data_type,
            try_cast,
        } => Expr::Cast {
            expr: Box::new(into_columns(expr, columns, middle, session)),
            data_type: data_type.clone(),
            try_cast: *try_cast,
        },
        Expr::Column { .. } => expr.clone(),
    }
}

/// The lines of a golden file: an expression, its type, its value.
pub fn lines(golden: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    golden
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut parts = line.split('\t');
            let mut part = || parts.next().unwrap_or_default();
            (part(), part(), part())
        })
}

/// What is wrong with an expression that was accepted.
pub fn judge(sql: &str, expr: &Expr, data_type: &str, value: &str, session: &Session) -> Vec<String> {
    if data_type == "REFUSED" {
        return vec![format!("{sql}: not refused but of type {}", expr.data_type())];
    }
    let mut failures = Vec::new();
    let given = expr.data_type().to_string();
    let kind = |text: &str| text.strip_suffix(" NOT NULL").unwrap_or(text).to_owned();
    if kind(&given) != kind(data_type) {
        failures.push(format!("{sql}: type {given}, not {data_type}"));
    }
    let folded = shown(expr, vec![], 1, session);
    if folded != value {
        failures.push(format!("{sql}: {folded}, not {value}"));
    }
    let mut columns = Vec::new();
    let middle = if is_nested(expr) {
        Middle::Same
    } else {
        Middle::Null
    };
    let moved = into_columns(expr, &mut columns, middle, session);
    let over_columns = shown(&moved, columns, 3, session);
    if over_columns != value && value != "ERROR" && folded == value {
        failures.push(format!("{sql}: over columns {over_columns}, not {value}"));
    }
    failures
}

/// Every line of a golden file, each expression as `plan` understands it.
pub fn check(golden: &str, zone: &str, plan: impl Fn(&str) -> Result<Expr, String>) {
    let session = Session {
        time_zone: text::zone::parse(zone).unwrap(),
    };
    let mut failures = Vec::new();
    let mut checked = 0;
    for (sql, data_type, value) in lines(golden) {
        checked += 1;
        match plan(sql) {
            Ok(expr) => failures.extend(judge(sql, &expr, data_type, value, &session)),
            Err(_) if data_type == "REFUSED" => {}
            Err(error) => failures.push(format!("{sql}: {}", error.replace('\n', " "))),
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {checked}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
