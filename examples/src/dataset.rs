//! The 336,776 flights that left New York in 2013 (the data set nycflights13, CC0), as events.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use chrono::DateTime;

/// Every other column is a whole number.
const TEXT_COLUMNS: &[&str] = &["carrier", "tailnum", "origin", "dest", "time_hour"];

/// The year in memory: the file's text, and where each flight's line is.
#[derive(Debug)]
pub struct Flights {
    text: String,
    columns: Vec<Column>,
    /// In the order of the scheduled departure; flights of one minute in the file's order.
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Column {
    name: String,
    is_text: bool,
}

#[derive(Debug)]
struct Line {
    scheduled: i64,
    range: Range<usize>,
}

/// One flight as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Carrier and flight number, such as UA1545.
    pub key: String,
    /// Scheduled departure, milliseconds since 1970.
    pub timestamp: i64,
    /// All columns under the data set's names; NA is null.
    pub json: String,
    /// Minutes; none for a cancelled flight.
    pub departure_delay: Option<i32>,
}

impl Flights {
    pub fn load(path: &Path) -> Result<Flights> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(text)
    }

    fn parse(text: String) -> Result<Flights> {
        let header = text.lines().next().context("the data set is empty")?;
        let columns: Vec<Column> = header
            .split(',')
            .map(|name| Column {
                name: name.to_owned(),
                is_text: TEXT_COLUMNS.contains(&name),
            })
            .collect();
        let position = |name: &str| {
            columns
                .iter()
                .position(|c| c.name == name)
                .with_context(|| format!("the data set has no column {name}"))
        };
        let (minute, hour) = (position("minute")?, position("time_hour")?);
        let mut lines = Vec::new();
        let mut start = header.len() + 1;
        while start < text.len() {
            let end = text[start..].find('\n').map_or(text.len(), |n| start + n);
            let fields: Vec<&str> = text[start..end].split(',').collect();
            if fields.len() != columns.len() {
                bail!(
                    "line {} of the data set has {} fields",
                    lines.len() + 2,
                    fields.len()
                );
            }
            let hour = DateTime::parse_from_rfc3339(fields[hour])?;
            let minute: i64 = fields[minute].parse()?;
            lines.push(Line {
                scheduled: hour.timestamp_millis() + minute * 60_000,
                range: start..end,
            });
            start = end + 1;
        }
        lines.sort_by_key(|line| line.scheduled);
        Ok(Flights { text, columns, lines })
    }

    /// The first flights in the order of time.
    pub fn first(mut self, count: usize) -> Flights {
        self.lines.truncate(count);
        self
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.lines.iter().map(|line| self.event(line))
    }

    fn event(&self, line: &Line) -> Event {
        let mut event = Event {
            key: String::new(),
            timestamp: line.scheduled,
            json: String::from("{"),
            departure_delay: None,
        };
        for (column, field) in self.columns.iter().zip(self.text[line.range.clone()].split(',')) {
            match column.name.as_str() {
                "carrier" | "flight" => event.key.push_str(field),
                "dep_delay" => event.departure_delay = field.parse().ok(),
                _ => {}
            }
            if event.json.len() > 1 {
                event.json.push(',');
            }
            // Fields hold letters, digits, '-' and ':' only: nothing in them needs an escape.
            let _ = match (field, column.is_text) {
                ("NA" | "", _) => write!(event.json, "\"{}\":null", column.name),
                (_, true) => write!(event.json, "\"{}\":\"{field}\"", column.name),
                (_, false) => write!(event.json, "\"{}\":{field}", column.name),
            };
        }
        event.json.push('}');
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "dep_delay,carrier,flight,tailnum,minute,time_hour
2,UA,1545,N14228,15,2013-01-01T10:00:00Z
NA,EV,4308,NA,5,2013-01-01T10:00:00Z
-4,B6,725,N804JB,45,2013-01-01T09:00:00Z
";

    #[test]
    fn flights_come_in_the_order_of_their_time() {
        let flights = Flights::parse(TEXT.to_owned()).unwrap();
        let keys: Vec<String> = flights.events().map(|e| e.key).collect();
        assert_eq!(keys, ["B6725", "EV4308", "UA1545"]);
        assert!(flights.events().map(|e| e.timestamp).is_sorted());
    }

    #[test]
    fn na_is_null_and_numbers_are_numbers() {
        let flights = Flights::parse(TEXT.to_owned()).unwrap();
        let event = flights.events().find(|e| e.key == "EV4308").unwrap();
        assert_eq!(event.departure_delay, None);
        let json: serde_json::Value = serde_json::from_str(&event.json).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"dep_delay": null, "carrier": "EV", "flight": 4308, "tailnum": null,
                "minute": 5, "time_hour": "2013-01-01T10:00:00Z"})
        );
        assert_eq!(event.timestamp, 1_357_034_700_000);
    }

    #[test]
    fn a_short_line_is_an_error() {
        assert!(Flights::parse(format!("{TEXT}1,UA\n")).is_err());
    }
}
