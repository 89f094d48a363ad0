//! Reads Prometheus' text format, and takes nothing that its specification does not allow.

use std::collections::{BTreeMap, BTreeSet};

/// Metrics by name.
pub type Families = BTreeMap<String, Family>;

#[derive(Debug, Clone, Default)]
pub struct Family {
    /// gauge, summary ...
    pub kind: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
pub struct Sample {
    /// The family's, or that with `_count` or `_sum` behind it.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Family {
    /// The names of labels, but for those of summaries' quantiles, of each sample.
    pub fn label_sets(&self) -> BTreeSet<Vec<&str>> {
        self.samples
            .iter()
            .map(|sample| {
                let names = sample.labels.keys().map(String::as_str);
                names.filter(|name| *name != "quantile").collect()
            })
            .collect()
    }
}

/// # Panics
/// Where a line is not as it should be, or comes twice.
pub fn parse(text: &str) -> Families {
    let mut families = Families::new();
    let mut current: Option<String> = None;
    let mut seen = BTreeSet::new();
    assert!(text.ends_with('\n'), "the last line has no end");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap();
            assert!(is_name(name), "{line}");
            assert!(!families.contains_key(name), "help comes late or twice: {line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(name), "{line}");
            assert!(
                ["gauge", "counter", "summary", "histogram"].contains(&kind),
                "{line}"
            );
            let family = Family {
                kind: kind.to_owned(),
                ..Family::default()
            };
            assert!(
                families.insert(name.to_owned(), family).is_none(),
                "twice: {line}"
            );
            current = Some(name.to_owned());
            continue;
        }
        assert!(!line.starts_with('#') && !line.is_empty(), "{line}");
        let sample = sample(line);
        let name = current
            .as_deref()
            .unwrap_or_else(|| panic!("no type before {line}"));
        let family = families.get_mut(name).unwrap();
        let is_own = match family.kind.as_str() {
            "summary" => {
                [name.to_owned(), format!("{name}_count"), format!("{name}_sum")].contains(&sample.name)
            }
            _ => sample.name == name,
        };
        assert!(is_own, "a sample is among those of {name}: {line}");
        let key = format!("{} {:?}", sample.name, sample.labels);
        assert!(seen.insert(key), "twice: {line}");
        family.samples.push(sample);
    }
    families
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn sample(line: &str) -> Sample {
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}")));
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            if let Some(behind) = rest.strip_prefix('}') {
                rest = behind;
                break;
            }
            let (label, behind) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(
                is_name(label) && !label.contains(':') && !label.starts_with("__"),
                "{line}"
            );
            let (value, behind) = quoted(behind, line);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    Sample {
        name: name.to_owned(),
        labels,
        value,
    }
}

/// A value up to its closing quote, and what follows.
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                _ => panic!("a wrong escape: {line}"),
            },
            c => value.push(c),
        }
    }
    panic!("a value without an end: {line}")
}

#[test]
fn what_is_wrong_is_refused() {
    let good = "# TYPE a_b gauge\na_b{c=\"d\\\"\\\\\\n\",e=\"\"} 1e3\na_b 2\n";
    let families = parse(good);
    assert_eq!(families["a_b"].samples[0].labels["c"], "d\"\\\n");
    assert_eq!(families["a_b"].samples[0].value, 1000.0);
    for wrong in [
        "a 1\n",
        "# TYPE a gauge\na 1",
        "# TYPE a gauge\na 1\na 1\n",
        "# TYPE a gauge\nb 1\n",
        "# TYPE a gauge\na{b=\"c} 1\n",
        "# TYPE a gauge\na{b=\"\\x\"} 1\n",
        "# TYPE a gauge\na{b:c=\"\"} 1\n",
        "# TYPE a gauge\na one\n",
        "# TYPE a gauge\n# TYPE a gauge\n",
        "# TYPE a-b gauge\n",
    ] {
        let read = std::panic::catch_unwind(|| parse(wrong));
        assert!(read.is_err(), "{wrong}");
    }
}
