//! `avro-confluent` beside Apache Flink's own, over one registry: what one writes the other reads.
//!
//! It needs Flink (`scripts/setup flink`), and is built with the feature `flink`; the long tests run it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use arrow::array::RecordBatch;
use millrace_avro::AvroConfluent;
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::{Format, Payloads};
use millrace_core::RowKind;
use millrace_dataflow::TableSpec;
use millrace_expr::{DataType, Field, RowType, TypeKind};
use millrace_formats::row_text::RowText;
use millrace_testkit::cache;
use millrace_testkit::registry::Registry;

const COLUMNS: &str = "i INT NOT NULL, t TINYINT, l BIGINT, f FLOAT, d DOUBLE, b BOOLEAN, s STRING, y BYTES, \
     n DECIMAL(10, 2), `day` DATE, clock TIME(3), `at` TIMESTAMP(3), a ARRAY<INT>, m MAP<STRING, BIGINT>, r ROW<x INT, y STRING>";

fn fields() -> Vec<Field> {
    let nullable = DataType::nullable;
    vec![
        Field::new("i", DataType::int().with_nullable(false)),
        Field::new("t", nullable(TypeKind::TinyInt)),
        Field::new("l", DataType::bigint()),
        Field::new("f", nullable(TypeKind::Float)),
        Field::new("d", nullable(TypeKind::Double)),
        Field::new("b", DataType::boolean()),
        Field::new("s", DataType::string()),
        Field::new("y", DataType::bytes()),
        Field::new(
            "n",
            nullable(TypeKind::Decimal {
                precision: 10,
                scale: 2,
            }),
        ),
        Field::new("day", nullable(TypeKind::Date)),
        Field::new("clock", nullable(TypeKind::Time(3))),
        Field::new("at", nullable(TypeKind::Timestamp(3))),
        Field::new("a", nullable(TypeKind::Array(Box::new(DataType::int())))),
        Field::new(
            "m",
            nullable(TypeKind::Map(
                Box::new(DataType::string()),
                Box::new(DataType::bigint()),
            )),
        ),
        Field::new(
            "r",
            nullable(TypeKind::Row(vec![
                Field::new("x", DataType::int()),
                Field::new("y", DataType::string()),
            ])),
        ),
    ]
}

const ROWS: &str = r#"{"i":1,"t":-3,"l":1234567890123,"f":1.5,"d":-2.25,"b":true,"s":"é😀","y":"AQID","n":-12.5,"day":"1969-12-31","clock":"10:11:12","at":"2020-01-02 10:11:12.123","a":[1,null,-3],"m":{"k":7},"r":{"x":1,"y":null}}
{"i":2}
{"i":-2147483648,"t":127,"s":"","y":"","n":99999999.99,"a":[],"m":{},"r":{}}
"#;

fn flink(arguments: &[&str], input: &str) -> String {
    let home = cache::installed("flink/2.1.1/lib", "flink").unwrap();
    let avro = cache::installed("flink/2.1.1/avro", "flink").unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flink/Confluent.java");
    let mut child = Command::new("java")
        .env("TZ", "UTC")
        .arg("-cp")
        .arg(format!("{}/*:{}/*", home.display(), avro.display()))
        .arg(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn table(url: &str) -> TableSpec {
    let options = [
        ("avro-confluent.url", url),
        ("avro-confluent.subject", "both-ways"),
    ];
    TableSpec {
        name: "t".to_owned(),
        options: options.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        columns: fields(),
        metadata: Vec::new(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

fn json() -> RecordBatch {
    let mut registry = millrace_connector_api::Registry::default();
    millrace_formats::register(&mut registry);
    let row_type = RowType::new(fields());
    let format = registry.format("t", "json").unwrap();
    let mut decoder = format.decoder(&table("http://none"), "json.", &row_type).unwrap();
    let mut payloads = Payloads::new();
    ROWS.lines().for_each(|line| payloads.push(Some(line.as_bytes())));
    let decoded = decoder.decode(&payloads).unwrap();
    RecordBatch::try_new(row_type.to_arrow(), decoded.columns).unwrap()
}

fn shown(rows: &RecordBatch) -> String {
    let fields = fields();
    let text = RowText::new(&fields, rows.columns()).unwrap();
    let mut out = Vec::new();
    for row in 0..rows.num_rows() {
        text.write(RowKind::Insert, row, &mut out);
        out.push(b'\n');
    }
    String::from_utf8(out).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn what_one_writes_the_other_reads() {
    let url = Registry::shared().url();
    let (table, row_type) = (table(&url), RowType::new(fields()));
    let rows = json();
    let mut ours = Payloads::new();
    let mut encoder = AvroConfluent
        .encoder(&table, "avro-confluent.", &row_type)
        .unwrap();
    encoder
        .encode(&ChangeBatch::inserts(rows.clone()), &mut ours)
        .unwrap();
    let lines: Vec<String> = (0..ours.len()).map(|i| hex(ours.get(i).unwrap())).collect();
    // Flink reads ours.
    assert_eq!(
        flink(&["read", &url, COLUMNS], &(lines.join("\n") + "\n")),
        shown(&rows)
    );
    // Flink writes the same bytes, under the same number of a schema.
    let theirs = flink(&["write", &url, "both-ways", COLUMNS], ROWS);
    assert_eq!(theirs.lines().collect::<Vec<_>>(), lines);
    // And we read Flink's, its schema being another's subject too.
    let theirs = flink(&["write", &url, "flinks", COLUMNS], ROWS);
    let mut payloads = Payloads::new();
    for line in theirs.lines() {
        let bytes = (0..line.len() / 2).map(|i| u8::from_str_radix(&line[2 * i..2 * i + 2], 16).unwrap());
        payloads.push(Some(&bytes.collect::<Vec<_>>()));
    }
    let mut decoder = AvroConfluent
        .decoder(&table, "avro-confluent.", &row_type)
        .unwrap();
    let decoded = decoder.decode(&payloads).unwrap();
    let read = RecordBatch::try_new(row_type.to_arrow(), decoded.columns).unwrap();
    assert_eq!(shown(&read), shown(&rows));
}
