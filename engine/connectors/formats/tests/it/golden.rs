//! Golden files: what Apache Flink's own formats read and write.
//!
//! `tests/golden/README.md` describes the files; each line is checked by itself, and what a section
//! reads without an error is read once more as one batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StructArray};
use millrace_connector_api::ChangeBatch;
use millrace_connector_api::format::Payloads;
use millrace_dataflow::TableSpec;
use millrace_expr::RowType;
use millrace_formats::lines::Lines;
use millrace_formats::row_text::RowText;

use crate::sql_type;
use crate::support::{batch, format, payloads, table};

/// Stands for a null key of a map, which no format can read.
const NULL_KEY: &str = "NULL-KEY";

/// What the lines below a section's head go through.
#[derive(Clone, Default)]
struct Section {
    kind: String,
    format: String,
    options: BTreeMap<String, String>,
    from: String,
    from_options: BTreeMap<String, String>,
    columns: String,
    /// Keys of metadata that are read behind the columns.
    metadata: Vec<String>,
}

impl Section {
    fn head(line: &str, before: &Section) -> Section {
        let (word, rest) = line.split_once(' ').unwrap();
        if word == "@columns" {
            return Section {
                columns: rest.to_owned(),
                ..before.clone()
            };
        }
        if word == "@metadata" {
            return Section {
                metadata: rest.split(' ').map(str::to_owned).collect(),
                ..before.clone()
            };
        }
        let (to, from) = rest.split_once(" <- ").unwrap_or((rest, "json"));
        let named = |text: &str| {
            let mut words = text.split(' ');
            let name = words.next().unwrap().to_owned();
            let option = |word: &str| {
                let (key, value) = word.split_once('=').unwrap();
                (key.to_owned(), String::from_utf8(unescape(value)).unwrap())
            };
            (name, words.map(option).collect::<BTreeMap<_, _>>())
        };
        let ((format, options), (from, from_options)) = (named(to), named(from));
        Section {
            kind: word[1..].to_owned(),
            columns: before.columns.clone(),
            format,
            options,
            from,
            from_options,
            metadata: Vec::new(),
        }
    }

    fn fields(&self) -> RowType {
        sql_type::columns(&self.columns)
    }

    fn table(&self, options: &BTreeMap<String, String>) -> TableSpec {
        let in_files = self.kind.ends_with("-file");
        let mut table = table(&self.fields(), &[]);
        table.options = options.clone().into_iter().collect();
        let connector = if in_files { "filesystem" } else { "kafka" };
        table.options.insert("connector".to_owned(), connector.to_owned());
        table
    }

    /// `None` where anything is refused.
    fn decode(
        &self,
        name: &str,
        options: &BTreeMap<String, String>,
        input: &Payloads,
    ) -> Option<ChangeBatch> {
        let fields = self.fields();
        let metadata: Vec<&str> = match name == self.format {
            true => self.metadata.iter().map(String::as_str).collect(),
            false => Vec::new(),
        };
        let mut decoder = format(name)
            .decoder_with_metadata(&self.table(options), &format!("{name}."), &fields, &metadata)
            .ok()?;
        let decoded = decoder.decode(input).ok()?;
        Some(ChangeBatch {
            rows: batch(&self.shown_fields(), decoded.columns, decoded.rows),
            kinds: decoded.kinds,
        })
    }

    /// The columns, and the metadata behind them.
    fn shown_fields(&self) -> RowType {
        let mut fields = self.fields();
        let given = format(&self.format).metadata();
        let metadata = self.metadata.iter().map(|key| {
            let found = given.iter().find(|field| field.name == *key);
            found.unwrap().clone()
        });
        fields.fields.extend(metadata);
        fields
    }

    fn encode(&self, input: &Payloads) -> Option<Payloads> {
        let fields = self.fields();
        let change = self.decode(&self.from, &self.from_options, input)?;
        let columns = change.rows.columns().iter().map(with_null_keys).collect();
        let rows = batch(&fields, columns, change.len());
        let kinds = change.kinds;
        let mut encoder = format(&self.format)
            .encoder(&self.table(&self.options), &format!("{}.", self.format), &fields)
            .ok()?;
        let mut out = Payloads::new();
        encoder.encode(&ChangeBatch { rows, kinds }, &mut out).ok()?;
        Some(out)
    }

    fn shown(&self, change: &ChangeBatch) -> String {
        let fields = self.shown_fields();
        let text = RowText::new(&fields.fields, change.rows.columns()).unwrap();
        let mut out = Vec::new();
        (0..change.len()).for_each(|row| text.write(change.kind(row), row, &mut out));
        String::from_utf8(out).unwrap()
    }

    /// The records of a file.
    fn records(&self, file: &[u8]) -> Payloads {
        let prefix = format!("{}.", self.format);
        let lines = Lines::of(&self.format, &self.table(&self.options), &prefix).unwrap();
        let (mut at, mut records) = (0, Payloads::new());
        while let Some((record, next)) = lines.next(&file[at..], true) {
            records.push(Some(record));
            at += next;
        }
        records
    }

    fn run(&self, input: &[u8]) -> Option<String> {
        let one = payloads([input]);
        Some(match self.kind.as_str() {
            "decode" => none_if_empty(self.shown(&self.decode(&self.format, &self.options, &one)?)),
            "decode-file" => {
                none_if_empty(self.shown(&self.decode(&self.format, &self.options, &self.records(input))?))
            }
            "encode" => {
                let records = self.encode(&one)?;
                // Of no row, Flink makes no record.
                if records.is_empty() {
                    return None;
                }
                let shown = (0..records.len()).map(|i| match records.get(i) {
                    Some(bytes) => escape(bytes),
                    None => "NULL".to_owned(),
                });
                shown.collect::<Vec<_>>().join(" ")
            }
            "encode-file" => {
                let records = self.encode(&one)?;
                let lines = (0..records.len()).map(|i| [records.get(i).unwrap(), b"\n"].concat());
                escape(&lines.collect::<Vec<_>>().concat())
            }
            other => panic!("unknown section {other}"),
        })
    }
}

fn none_if_empty(rows: String) -> String {
    if rows.is_empty() {
        "NONE".to_owned()
    } else {
        escape(rows.as_bytes())
    }
}

/// Keys with the text of `NULL_KEY` become null.
fn with_null_keys(array: &ArrayRef) -> ArrayRef {
    if let Some(map) = array.as_map_opt() {
        let (field, offsets, entries, nulls, ordered) = map.clone().into_parts();
        let keys = entries.column(0).as_string::<i32>();
        let keys: arrow::array::StringArray = keys.iter().map(|k| k.filter(|k| *k != NULL_KEY)).collect();
        if keys.null_count() == 0 {
            return array.clone();
        }
        let (fields, columns, _) = entries.into_parts();
        // A null key is against the field's word, as it is in the engine's own maps.
        let entries =
            unsafe { StructArray::new_unchecked(fields, vec![Arc::new(keys), columns[1].clone()], None) };
        let data = MapArray::try_new(field, offsets, entries, nulls, ordered);
        return Arc::new(data.unwrap());
    }
    array.clone()
}

/// `\t`, `\n`, `\r`, `\\`, `\s` for a space, and `\xNN` for any other byte.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        out.push(if b != b'\\' {
            b
        } else {
            match rest.next().unwrap() {
                b't' => b'\t',
                b'n' => b'\n',
                b'r' => b'\r',
                b's' => b' ',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            }
        });
    }
    out
}

fn escape(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).is_ok();
    let mut out = Vec::new();
    for &b in bytes {
        match b {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\x{b:02x}").as_bytes()),
            0x80.. if !text => out.extend_from_slice(format!("\\x{b:02x}").as_bytes()),
            _ => out.push(b),
        }
    }
    String::from_utf8(out).unwrap()
}

/// A line for which this engine gives something else, wanted so.
struct Difference {
    head: &'static str,
    input: &'static str,
    ours: &'static str,
}

fn differs(head: &'static str, input: &'static str, ours: &'static str) -> Difference {
    Difference { head, input, ours }
}

fn check(golden: &str, differences: &[Difference]) {
    let mut section = Section::default();
    let mut head = "";
    let mut failures = Vec::new();
    let mut met = 0;
    // Of the section so far: what gives rows, and the rows.
    let (mut together, mut expected) = (Payloads::new(), String::new());
    let as_batch =
        |section: &Section, together: &mut Payloads, expected: &mut String, failures: &mut Vec<String>| {
            if section.kind == "decode" && !together.is_empty() {
                let rows = section
                    .decode(&section.format, &section.options, together)
                    .map(|rows| escape(section.shown(&rows).as_bytes()));
                if rows.as_ref() != Some(expected) {
                    failures.push(format!(
                        "{} {:?} {}: as one batch\n    {rows:?}\n    {expected}",
                        section.format, section.options, section.columns
                    ));
                }
            }
            together.clear();
            expected.clear();
        };
    for line in golden.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if line.starts_with('@') {
            as_batch(&section, &mut together, &mut expected, &mut failures);
            section = Section::head(line, &section);
            if !line.starts_with("@columns") && !line.starts_with("@metadata") {
                head = line;
            }
            continue;
        }
        let (input, wanted) = line.split_once('\t').expect("a line is refreshed");
        let bytes = unescape(input);
        let given = section.run(&bytes).unwrap_or_else(|| "ERROR".to_owned());
        let different = differences.iter().find(|d| d.head == head && d.input == input);
        let wanted = match different {
            Some(difference) => {
                met += 1;
                if given == wanted {
                    failures.push(format!("{head} | {input}: no difference to Flink any more"));
                }
                difference.ours
            }
            None => wanted,
        };
        if given != wanted {
            failures.push(format!(
                "{head} | {} | {input}\n    ours  {given}\n    Flink {wanted}",
                section.columns
            ));
        }
        if wanted != "ERROR" && given == wanted {
            together.push(Some(&bytes));
            if given != "NONE" {
                expected.push_str(&given);
            }
        }
    }
    as_batch(&section, &mut together, &mut expected, &mut failures);
    if met != differences.len() {
        failures.push(format!("{} of {} differences were met", met, differences.len()));
    }
    assert!(
        failures.is_empty(),
        "{}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn json_read() {
    const FAILING: &str = "@decode json";
    const IGNORING: &str = "@decode json json.ignore-parse-errors=true";
    let differences = [
        // Digits of other scripts and hexadecimal floating point, which Java's parsers take.
        differs(FAILING, r#"{"a":"١"}"#, "ERROR"),
        differs(FAILING, r#"{"c":"0x1p3"}"#, "ERROR"),
        // Flink's parser loses its place within an object that is no value of its column.
        differs(IGNORING, r#"{"a":{"x":1},"b":2}"#, "+I[null, 2, null, null]"),
        differs(IGNORING, r#"{"a":{"x":1},"m":{"k":2}}"#, "+I[null, {k=2}, null]"),
        differs(
            IGNORING,
            r#"{"r":{"x":{"y":1}},"a":[5]}"#,
            "+I[[5], null, +I[null, null]]",
        ),
        // There is one parser here, and it is like Flink's newer one.
        differs(
            "@decode json json.decode.json-parser.enabled=false",
            "null",
            "ERROR",
        ),
        differs(
            "@decode json json.decode.json-parser.enabled=false",
            r#"{"a":1,"a":2,"b":3}"#,
            "+I[2, null]",
        ),
        // Flink keeps more digits of a second than the column's type has.
        differs(
            "@decode json json.timestamp-format.standard=ISO-8601",
            r#"{"c":"2023-11-14T22:13:20.123456Z"}"#,
            "+I[null, null, 2023-11-14T22:13:20.123Z, null]",
        ),
    ];
    check(include_str!("../golden/json-decode.tsv"), &differences);
}

#[test]
fn json_written() {
    // Half of a surrogate pair is no character, and a text here has only characters.
    let half = differs(
        "@encode json",
        r#"{"a":"\\ud83d"}"#,
        r#"{"a":"?","b":null,"c":null}"#,
    );
    check(include_str!("../golden/json-encode.tsv"), &[half]);
}

#[test]
fn csv_read() {
    let differences = [
        // Hexadecimal floating point.
        differs("@decode csv", "x,0x1p3,.5", "ERROR"),
        // java.sql.Date, through which Flink reads, has the Julian calendar before 1582-10-15.
        differs(
            "@decode csv",
            "AQID,0000-01-01,22:13:20",
            "+I[[1, 2, 3], 0000-01-01, 22:13:20]",
        ),
        differs(
            "@decode csv",
            "AQID,1582-10-10,00:00:00",
            "+I[[1, 2, 3], 1582-10-10, 00:00]",
        ),
        differs(
            "@decode csv",
            "AQID,1500-02-29,00:00:00",
            "+I[[1, 2, 3], 1500-03-01, 00:00]",
        ),
    ];
    check(include_str!("../golden/csv-decode.tsv"), &differences);
}

#[test]
fn csv_written() {
    check(include_str!("../golden/csv-encode.tsv"), &[]);
}

#[test]
fn csv_files() {
    check(include_str!("../golden/csv-files.tsv"), &[]);
}

#[test]
fn raw_both_ways() {
    check(include_str!("../golden/raw.tsv"), &[]);
}

#[test]
fn avro_both_ways() {
    // Flink writes and reads milliseconds there, where the schema says microseconds.
    let micros = [
        differs(
            "@encode avro avro.timestamp_mapping.legacy=false",
            r#"{"b":"2020-01-02 10:11:12.123456","d":"2020-01-02 10:11:12.123456Z"}"#,
            "ERROR",
        ),
        differs(
            "@decode avro avro.timestamp_mapping.legacy=false",
            r"\x02\x80\xc9\xae\x9a\xad\xc9\xcd\x05\x02\xf6\xd9\xe6\xdb\xec[",
            "ERROR",
        ),
    ];
    check(include_str!("../golden/avro.tsv"), &micros);
}

#[test]
fn debezium_json_both_ways() {
    // A map's entries keep their order here, and have none in Flink.
    const SOURCE: &str = r#"{"before":null,"after":{"id":1},"source":{"version":"1.9","ts_ms":1589362330904,"snapshot":false,"db":"inventory","schema":"s","table":"t","x":null,"n":1.50,"o":{"a":1}},"op":"c","ts_ms":1589362344455}"#;
    const ROW: &str = r#"+I[1, null, 2020-05-13T09:32:24.455Z, 2020-05-13T09:32:10.904Z, inventory, s, t, {version=1.9, ts_ms=1589362330904, snapshot=false, db=inventory, schema=s, table=t, x=null, n=1.5, o={"a":1}}]"#;
    let ordered = [
        differs("@decode debezium-json", SOURCE, ROW),
        differs(
            "@decode debezium-json debezium-json.ignore-parse-errors=true",
            SOURCE,
            ROW,
        ),
    ];
    check(include_str!("../golden/debezium-json.tsv"), &ordered);
}
