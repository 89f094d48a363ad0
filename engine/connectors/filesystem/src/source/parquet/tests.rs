//! What Flink reads in its own files, read here. Within the crate, because the zone is no option.

use std::path::Path;

use millrace_expr::{Field, RowType, TypeKind};

use super::super::golden::{array, file, flat, nullable, read, shown, times, types};
use crate::timestamps::Zone;

/// Compares line by line, so that a failure can be read.
fn same(path: &Path, fields: &RowType, zone: Zone, expected: &str) {
    let given = shown(&read(path, fields, zone).unwrap(), fields);
    let expected = std::fs::read_to_string(file(expected)).unwrap();
    for (given, expected) in given.lines().zip(expected.lines()) {
        assert_eq!(given, expected);
    }
    assert_eq!(given.lines().count(), expected.lines().count());
}

#[test]
fn timestamps_are_read_as_flink_reads_them() {
    let new_york = Zone::named("America/New_York");
    let written = file("int96-new-york.parquet");
    same(&written, &times(), new_york, "int96-new-york.txt");
    same(&written, &times(), Zone::UTC, "int96-new-york-in-utc.txt");
    same(&file("int96-utc.parquet"), &times(), Zone::UTC, "int96-utc.txt");
    same(
        &file("int64-new-york.parquet"),
        &flat(),
        new_york,
        "int64-new-york.txt",
    );
    same(
        &file("int64-millis-utc.parquet"),
        &flat(),
        Zone::UTC,
        "int64-millis-utc.txt",
    );
}

#[test]
fn every_type_is_read_as_flink_reads_it() {
    same(&file("types.parquet"), &types(), Zone::UTC, "types.txt");
}

#[test]
fn a_timestamp_that_nanoseconds_cannot_hold_is_an_error() {
    // The column has the year 9999.
    for nested in [false, true] {
        let nanos = nullable(TypeKind::Timestamp(9));
        let fields = RowType::new(vec![if nested {
            Field::new("d", array(nanos))
        } else {
            Field::new("c", nanos)
        }]);
        let e = read(&file("int96-utc.parquet"), &fields, Zone::UTC).unwrap_err();
        assert!(e.to_string().contains("declare TIMESTAMP(6)"), "{e}");
    }
}
