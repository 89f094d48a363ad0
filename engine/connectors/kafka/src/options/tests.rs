use millrace_connector_api::format::{Decoder, Encoder};
use millrace_expr::DataType;

use super::*;

/// A format with one option, which decodes nothing.
struct Nothing;

impl Format for Nothing {
    fn identifier(&self) -> &'static str {
        "json"
    }

    fn options(&self) -> &'static [OptionSpec] {
        const OPTIONS: &[OptionSpec] = &[OptionSpec::optional("ignore-parse-errors", Some("false"), "")];
        OPTIONS
    }

    fn decoder(&self, _: &TableSpec, _: &str, _: &RowType) -> Result<Box<dyn Decoder>> {
        Err(Error::unsupported("reading nothing"))
    }

    fn encoder(&self, _: &TableSpec, _: &str, _: &RowType) -> Result<Box<dyn Encoder>> {
        Err(Error::unsupported("writing nothing"))
    }

    fn validate(&self, _: &TableSpec, _: &str, _: &[Field]) -> Result<()> {
        Ok(())
    }
}

fn parse(given: &[(&str, &str)]) -> Result<TableOptions> {
    let mut options: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in [("connector", "kafka"), ("properties.bootstrap.servers", "b:1")]
        .iter()
        .chain(given)
    {
        options.insert((*key).to_owned(), (*value).to_owned());
    }
    let table = TableSpec {
        name: "t".to_owned(),
        options,
        columns: ["k_id", "a", "k_b"]
            .map(|n| Field::new(n, DataType::int()))
            .to_vec(),
        metadata: Vec::new(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    };
    let mut formats = Registry::default();
    formats.add_format(Arc::new(Nothing));
    TableOptions::parse(&table, &formats)
}

const TOPIC: (&str, &str) = ("topic", "a");
const FORMAT: (&str, &str) = ("format", "json");

#[test]
fn defaults_are_flinks() {
    let o = parse(&[TOPIC, FORMAT]).unwrap();
    assert_eq!((o.startup, o.bounded), (Startup::Group, Bounded::Unbounded));
    assert_eq!(o.discovery, Some(Duration::from_secs(300)));
    assert_eq!(
        (o.partitioner, o.guarantee),
        (Partitioner::Default, DeliveryGuarantee::AtLeastOnce)
    );
    assert_eq!(o.value.prefix, "json.");
    assert_eq!(o.value.columns, [0, 1, 2]);
    assert!(o.key.is_none());
}

#[test]
fn topics_are_a_list_or_a_pattern() {
    let names = |text| match parse(&[("topic", text), FORMAT]).unwrap().topics {
        Topics::List(names) => names,
        Topics::Pattern(_) => Vec::new(),
    };
    assert_eq!(names("a; b ;c;"), ["a", "b", "c"]);
    assert!(matches!(
        parse(&[("topic-pattern", "a.*"), FORMAT]).unwrap().topics,
        Topics::Pattern(_)
    ));
}

#[test]
fn key_and_value_columns() {
    let keys = [
        TOPIC,
        ("value.format", "json"),
        ("key.format", "json"),
        ("key.fields", "k_b;k_id"),
    ];
    let o = parse(&keys).unwrap();
    let key = o.key.unwrap();
    assert_eq!(
        (key.prefix.as_str(), key.columns.as_slice()),
        ("key.json.", [2, 0].as_slice())
    );
    assert_eq!(
        (o.value.prefix.as_str(), o.value.columns.len()),
        ("value.json.", 3)
    );

    let split = [
        keys.as_slice(),
        &[
            ("value.fields-include", "EXCEPT_KEY"),
            ("key.fields-prefix", "k_"),
        ],
    ]
    .concat();
    let o = parse(&split).unwrap();
    let names: Vec<_> = o.key.unwrap().fields.into_iter().map(|f| f.name).collect();
    assert_eq!(names, ["b", "id"]);
    assert_eq!(o.value.columns, [1]);
}

#[test]
fn offsets_by_partition() {
    let o = parse(&[
        TOPIC,
        FORMAT,
        ("scan.startup.mode", "specific-offsets"),
        (
            "scan.startup.specific-offsets",
            "partition:0,offset:42; partition:1,offset:300",
        ),
        ("scan.bounded.mode", "timestamp"),
        ("scan.bounded.timestamp-millis", "7"),
    ])
    .unwrap();
    assert_eq!(o.startup, Startup::Specific(BTreeMap::from([(0, 42), (1, 300)])));
    assert_eq!(o.bounded, Bounded::Timestamp(7));
    // A bounded read takes the partitions of its start.
    assert_eq!(o.discovery, None);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let specific = ("scan.startup.mode", "specific-offsets");
    let key = [("key.format", "json"), ("key.fields", "k_id")];
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[FORMAT], "neither 'topic' nor 'topic-pattern'"),
        (&[TOPIC], "'format'"),
        (
            &[TOPIC, FORMAT, ("topic-pattern", "b")],
            "both 'topic' and 'topic-pattern'",
        ),
        (&[TOPIC, ("format", "xml")], "unknown format 'xml'"),
        (&[TOPIC, FORMAT, ("topics", "a")], "did you mean 'topic'"),
        (
            &[TOPIC, FORMAT, ("json.ignore-errors", "true")],
            "unknown option 'json.ignore-errors'",
        ),
        (
            &[TOPIC, FORMAT, ("scan.watermark.alignment.group", "g")],
            "not supported",
        ),
        (
            &[TOPIC, FORMAT, ("scan.startup.mode", "first")],
            "earliest-offset",
        ),
        (
            &[TOPIC, FORMAT, ("scan.startup.mode", "timestamp")],
            "scan.startup.timestamp-millis",
        ),
        (&[TOPIC, FORMAT, specific], "scan.startup.specific-offsets"),
        (
            &[
                ("topic", "a;b"),
                FORMAT,
                specific,
                ("scan.startup.specific-offsets", "partition:0,offset:1"),
            ],
            "more than one topic",
        ),
        (
            &[TOPIC, FORMAT, specific, ("scan.startup.specific-offsets", "0:1")],
            "partition:0,offset:42",
        ),
        (
            &[
                TOPIC,
                FORMAT,
                specific,
                ("scan.startup.specific-offsets", "partition:0,offset:-1"),
            ],
            "partition:0,offset:42",
        ),
        (&[TOPIC, FORMAT, ("scan.parallelism", "0")], "from 1"),
        (&[TOPIC, FORMAT, ("key.fields", "a")], "without 'key.format'"),
        (&[TOPIC, FORMAT, key[0]], "without 'key.fields'"),
        (
            &[TOPIC, FORMAT, key[0], ("key.fields", "z")],
            "no physical column 'z'",
        ),
        (
            &[TOPIC, FORMAT, key[0], key[1], ("key.fields-prefix", "k_")],
            "EXCEPT_KEY",
        ),
        (&[TOPIC, FORMAT, ("value.fields-include", "EXCEPT_KEY")], "no key"),
        (
            &[TOPIC, FORMAT, key[0], key[1], ("sink.partitioner", "round-robin")],
            "round-robin",
        ),
        (
            &[TOPIC, FORMAT, ("sink.partitioner", "com.example.P")],
            "com.example.P",
        ),
        (
            &[TOPIC, FORMAT, ("sink.delivery-guarantee", "exactly-once")],
            "sink.transactional-id-prefix",
        ),
    ];
    for (given, expected) in cases {
        let e = parse(given)
            .err()
            .unwrap_or_else(|| panic!("{given:?} was accepted"))
            .to_string();
        assert!(e.contains(expected), "{given:?}: {e}");
    }
}
