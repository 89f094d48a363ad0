//! What the golden files cannot show: rows that do not need a value, errors, casts of INSERT.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::datatypes::{Field, Int32Type, Schema, TimestampMillisecondType};
use millrace_core::{ErrorKind, Result};
use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_expr::{DataType, Expr, Scalar, TypeKind, cast, function};

fn batch(values: Vec<Option<i32>>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int32Array::from(values));
    let schema = Schema::new(vec![Field::new("c", column.data_type().clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    function::call(name, args).unwrap()
}

fn column() -> Expr {
    Expr::column(0, DataType::int())
}

fn int(value: i64) -> Expr {
    Expr::literal(Scalar::Integer(value), DataType::not_null(TypeKind::Int))
}

fn evaluate(expr: &Expr, batch: &RecordBatch) -> Result<ArrayRef> {
    Program::compile(expr, &Session::default())?.evaluate(batch, &Evaluation { now_millis: 7 })
}

fn ints(expr: &Expr, batch: &RecordBatch) -> Vec<Option<i32>> {
    evaluate(expr, batch)
        .unwrap()
        .as_primitive::<Int32Type>()
        .iter()
        .collect()
}

#[test]
fn branches_not_taken_raise_no_error() {
    let batch = batch(vec![Some(5), Some(0), None, Some(2)]);
    let tenth = || call("/", vec![int(10), column()]);
    let not_zero = || call("<>", vec![column(), int(0)]);

    let case = call("CASE", vec![not_zero(), tenth(), int(-1)]);
    assert_eq!(ints(&case, &batch), [Some(2), Some(-1), Some(-1), Some(5)]);

    let first = call("COALESCE", vec![column(), call("/", vec![int(1), int(0)])]);
    assert!(evaluate(&first, &batch).is_err());
    let zero_is_null = call("NULLIF", vec![column(), int(0)]);
    let safe = call("COALESCE", vec![call("/", vec![int(10), zero_is_null]), int(0)]);
    assert_eq!(ints(&safe, &batch), [Some(2), Some(0), Some(0), Some(5)]);

    let both = call("AND", vec![not_zero(), call(">", vec![tenth(), int(3)])]);
    let both = evaluate(&both, &batch).unwrap();
    let both: Vec<_> = both.as_boolean().iter().collect();
    assert_eq!(both, [Some(false), Some(false), None, Some(true)]);

    let either = call(
        "OR",
        vec![
            call("=", vec![column(), int(0)]),
            call(">", vec![tenth(), int(3)]),
        ],
    );
    let either = evaluate(&either, &batch).unwrap();
    let either: Vec<_> = either.as_boolean().iter().collect();
    assert_eq!(either, [Some(false), Some(true), None, Some(true)]);

    assert!(evaluate(&tenth(), &batch).is_err());
}

#[test]
fn constants_fail_only_where_a_row_needs_them() {
    let failing = call("/", vec![int(1), int(0)]);
    assert_eq!(evaluate(&failing, &batch(vec![])).unwrap().len(), 0);
    assert!(evaluate(&failing, &batch(vec![Some(1)])).is_err());
    let never = call("IF", vec![call("<", vec![column(), int(0)]), failing, column()]);
    assert_eq!(ints(&never, &batch(vec![Some(1), None])), [Some(1), None]);
}

#[test]
fn unknown_rows_do_not_pass_a_filter() {
    let program = Program::compile(&call(">", vec![column(), int(1)]), &Session::default()).unwrap();
    let mask = program
        .filter_mask(
            &batch(vec![Some(2), Some(1), None]),
            &Evaluation { now_millis: 0 },
        )
        .unwrap();
    assert_eq!(mask.null_count(), 0);
    assert_eq!(mask.values().iter().collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn columns_are_passed_on_without_a_copy() {
    let batch = batch(vec![Some(1)]);
    let given = evaluate(&column(), &batch).unwrap();
    assert!(Arc::ptr_eq(&given, batch.column(0)));
}

#[test]
fn now_is_the_time_of_the_evaluation() {
    let now = call("NOW", vec![]);
    assert!(function::is_dynamic("now") && !function::is_deterministic("NOW"));
    let array = evaluate(&now, &batch(vec![None, None])).unwrap();
    assert_eq!(array.as_primitive::<TimestampMillisecondType>().values(), &[7, 7]);
}

#[test]
fn integers_wrap_and_decimals_become_null() {
    let batch = batch(vec![Some(i32::MAX), None]);
    assert_eq!(
        ints(&call("+", vec![column(), int(1)]), &batch),
        [Some(i32::MIN), None]
    );
    let most = 10i128.pow(38) - 1;
    let most = Expr::literal(
        Scalar::Decimal(most),
        DataType::decimal(38, 0).with_nullable(false),
    );
    let sum = call("+", vec![most, column()]);
    assert_eq!(sum.data_type(), &DataType::decimal(38, 0));
    assert!(evaluate(&sum, &batch).unwrap().is_null(0));
}

#[test]
fn a_null_in_an_element_that_is_not_null_is_the_users_error() {
    let array = call("ARRAY", vec![column()]);
    let element = DataType::not_null(TypeKind::Int);
    let strict = DataType::not_null(TypeKind::Array(Box::new(element)));
    let stored = cast::implicit(array, strict).unwrap();
    assert!(evaluate(&stored, &batch(vec![Some(1)])).is_ok());
    let error = evaluate(&stored, &batch(vec![Some(1), None])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert_eq!(
        error.message(),
        "a NULL where an element or field is declared NOT NULL"
    );
}

#[test]
fn errors_say_what_to_do() {
    let unknown = function::call("UPER", vec![]).unwrap_err();
    assert_eq!(unknown.message(), "unknown function UPER");
    assert_eq!(unknown.hint(), Some("did you mean UPPER?"));

    let mismatch = function::call("upper", vec![int(1)]).unwrap_err();
    assert_eq!(mismatch.message(), "UPPER does not take arguments of these types");
    assert_eq!(
        mismatch.detail(),
        Some("given: UPPER(INT NOT NULL)\naccepted: UPPER(STRING)")
    );

    let refused = function::call("PARSE_JSON", vec![]).unwrap_err();
    assert_eq!(refused.message(), "the function PARSE_JSON is not supported yet");
    assert!(refused.hint().is_some_and(|hint| hint.contains("JSON_VALUE")));
    let internal = function::call("sum0", vec![column()]).unwrap_err();
    assert_eq!(
        internal.message(),
        "SUM0 is internal to Flink's planner, and no function of its SQL"
    );
    assert_eq!(internal.hint(), Some("write COALESCE(SUM(x), 0)"));
    let other = function::call("upperCase", vec![]).unwrap_err();
    assert_eq!(
        other.hint(),
        Some("that is its name in Flink's Table API; SQL has UPPER(s)")
    );
    assert!(function::exists("json_value") && function::is_aggregate("sum"));
    assert!(
        function::call("SUM", vec![column()])
            .unwrap_err()
            .message()
            .contains("aggregate")
    );
    assert!(function::names().iter().all(|name| function::exists(name)));

    let text = Expr::literal(Scalar::String("x".into()), DataType::string());
    let failed = cast::cast(text.clone(), DataType::int()).unwrap();
    let error = evaluate(&failed, &batch(vec![None])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert_eq!(error.message(), "cannot cast 'x' to INT");
    let tried = cast::try_cast(text, DataType::int()).unwrap();
    assert_eq!(ints(&tried, &batch(vec![None])), [None]);
}

#[test]
fn stores_what_fits_without_a_written_cast() {
    let stored = cast::implicit(column(), DataType::bigint()).unwrap();
    assert_eq!(stored.data_type(), &DataType::bigint());
    assert_eq!(
        cast::implicit(column(), DataType::not_null(TypeKind::Int)).unwrap(),
        column()
    );
    let long = Expr::column(0, DataType::bigint());
    let error = cast::implicit(long, DataType::int()).unwrap_err();
    assert_eq!(error.message(), "a value of type BIGINT cannot be stored as INT");
    assert!(cast::implicit(column(), DataType::string()).is_err());
}

#[test]
fn common_types() {
    let char = |n| DataType::not_null(TypeKind::Char(n));
    let common = |types: &[DataType]| cast::common_type(types).map(|t| t.to_string());
    assert_eq!(
        common(&[char(1), char(3)]).as_deref(),
        Some("VARCHAR(3) NOT NULL")
    );
    assert_eq!(
        common(&[DataType::int(), DataType::decimal(2, 1)]).as_deref(),
        Some("DECIMAL(11, 1)")
    );
    assert_eq!(
        common(&[DataType::nullable(TypeKind::Null), char(1)]).as_deref(),
        Some("CHAR(1)")
    );
    assert_eq!(common(&[DataType::int(), DataType::string()]), None);
}

#[test]
fn expressions_survive_their_serialised_form() {
    let expr = call(
        "CASE",
        vec![
            call(">", vec![column(), int(1)]),
            call(
                "UPPER",
                vec![Expr::literal(
                    Scalar::String("a".into()),
                    DataType::not_null(TypeKind::Char(1)),
                )],
            ),
        ],
    );
    let json = serde_json::to_string(&expr).unwrap();
    let back: Expr = serde_json::from_str(&json).unwrap();
    assert_eq!(back, expr);
    assert_eq!(
        evaluate(&back, &batch(vec![Some(2), Some(0)]))
            .unwrap()
            .as_string::<i32>()
            .value(0),
        "A"
    );
}
