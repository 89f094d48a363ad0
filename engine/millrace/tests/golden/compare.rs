//! Two changelogs, as lines of the connector `print`, and in what they differ.

use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub enum Comparison {
    Rows,
    /// By the values of these columns, counted from 0.
    Changelog(Vec<usize>),
    /// The same of rows that replace one another.
    Upserts(Vec<usize>),
    /// The last row that is left of each of these.
    Last(Vec<usize>),
    Set,
    Table,
}

impl Comparison {
    pub fn parse(text: &str) -> Option<Comparison> {
        Some(match text {
            "rows" => Comparison::Rows,
            "set" => Comparison::Set,
            "table" => Comparison::Table,
            _ => {
                let by = |of: fn(Vec<usize>) -> Comparison, columns: &str| {
                    let columns = columns
                        .split(',')
                        .map(|c| c.trim().parse::<usize>().ok()?.checked_sub(1));
                    Some(of(columns.collect::<Option<_>>()?))
                };
                match text.strip_prefix("upserts by ") {
                    Some(columns) => by(Comparison::Upserts, columns)?,
                    None => by(Comparison::Changelog, text.strip_prefix("changelog by ")?)?,
                }
            }
        })
    }

    /// What is expected and what is there, if that is not the same.
    pub fn difference(&self, expected: &[String], actual: &[String]) -> Option<String> {
        let (expected, actual) = (self.normal(expected), self.normal(actual));
        if expected == actual {
            return None;
        }
        let mut text = String::new();
        let rows = expected
            .iter()
            .map(|r| ('-', r))
            .filter(|(_, r)| count(&expected, r) > count(&actual, r));
        let surplus = actual
            .iter()
            .map(|r| ('+', r))
            .filter(|(_, r)| count(&actual, r) > count(&expected, r));
        for (sign, row) in rows.chain(surplus).take(40) {
            text.push_str(&format!("{sign} {row}\n"));
        }
        if text.is_empty() {
            text = format!(
                "another order, expected:\n{}\nis:\n{}\n",
                expected.join("\n"),
                actual.join("\n")
            );
        }
        Some(text)
    }

    /// The rows such that equal changelogs give equal lists.
    fn normal(&self, rows: &[String]) -> Vec<String> {
        let rows: Vec<String> = rows.iter().map(|row| with_sorted_maps(row)).collect();
        match self {
            Comparison::Rows => rows,
            Comparison::Set => {
                let mut rows = rows;
                rows.sort();
                rows
            }
            Comparison::Changelog(columns) | Comparison::Upserts(columns) => {
                by_key(&rows, columns).into_values().flatten().collect()
            }
            Comparison::Last(columns) => {
                let last = by_key(&rows, columns)
                    .into_values()
                    .filter_map(|mut rows| rows.pop());
                last.filter(|row| row.starts_with('+')).collect()
            }
            Comparison::Table => {
                let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
                for row in &rows {
                    let (kind, values) = row.split_at(2);
                    *counts.entry(values).or_default() += if kind.starts_with('+') { 1 } else { -1 };
                }
                counts
                    .into_iter()
                    .filter(|(_, count)| *count != 0)
                    .map(|(values, count)| format!("{count} x {values}"))
                    .collect()
            }
        }
    }
}

/// Rows with one more column: the watermark before each, which lines `@MILLIS` between them say.
pub fn with_watermarks(lines: &[String]) -> Vec<String> {
    let mut watermark = "none";
    let mut rows = Vec::new();
    for line in lines {
        match line.strip_prefix('@') {
            Some(millis) => watermark = millis,
            None => rows.push(format!("{}, @{watermark}]", line.strip_suffix(']').unwrap())),
        }
    }
    rows
}

/// In what the table differs that a changelog of inserts and deletes leaves, from what is left of Flink's
/// changelog, in which rows may replace one another by the values of `columns`.
pub fn left(expected: &[String], columns: Option<&[usize]>, actual: &[String]) -> Option<String> {
    let Some(columns) = columns else {
        return Comparison::Table.difference(expected, actual);
    };
    let last = Comparison::Last(columns.to_vec()).normal(expected);
    let inserted: Vec<String> = last.iter().map(|row| format!("+I{}", &row[2..])).collect();
    Comparison::Table.difference(&inserted, actual)
}

/// The rows of each value of these columns, in their order.
fn by_key(rows: &[String], columns: &[usize]) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut keys: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for row in rows {
        let values = values(row);
        let key = columns.iter().map(|c| values[*c].clone()).collect();
        keys.entry(key).or_default().push(row.clone());
    }
    keys
}

fn count(rows: &[String], row: &String) -> usize {
    rows.iter().filter(|r| *r == row).count()
}

/// Nobody promises the order of a map's entries: here they are sorted, those of `{...}` within others
/// before them.
fn with_sorted_maps(row: &str) -> String {
    // A record's members are columns, and stay where they are.
    if let Some((kind, members)) = row.split_once('{')
        && kind.len() == 2
        && let Some(members) = members.strip_suffix('}')
    {
        return format!("{kind}{{{}}}", with_sorted_maps(members));
    }
    let mut open: Vec<Vec<String>> = Vec::new();
    let mut text = String::new();
    for c in row.chars() {
        match c {
            '{' => {
                open.push(vec![std::mem::take(&mut text)]);
            }
            ',' if !open.is_empty() => {
                if let Some(entries) = open.last_mut() {
                    entries.push(std::mem::take(&mut text).trim().to_owned());
                }
            }
            '}' if !open.is_empty() => {
                if let Some(mut entries) = open.pop() {
                    entries.push(std::mem::take(&mut text).trim().to_owned());
                    let before = entries.remove(0);
                    entries.sort();
                    text = format!("{before}{{{}}}", entries.join(", "));
                }
            }
            _ => text.push(c),
        }
    }
    // What was opened and not closed is no map.
    while let Some(entries) = open.pop() {
        text = format!("{}{{{}", entries.join(","), text);
    }
    text
}

/// The values of `+I[a, [b, c], {d=e}]`, as text, or the members of `+I{"a":1,"b":2}`.
fn values(row: &str) -> Vec<String> {
    let inner = row[3..].trim_end();
    let inner = &inner[..inner.len() - 1];
    let mut values = vec![String::new()];
    let mut depth = 0;
    for c in inner.chars() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                values.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(value) = values.last_mut() {
            value.push(c);
        }
    }
    values.iter().map(|v| v.trim().to_owned()).collect()
}
