//! Values in paths and after `?`.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use millrace_core::JobId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::answer::{Failure, Result};

/// The values of a request's path and query, by name. What has no meaning for a handler is not looked at.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    path: HashMap<String, String>,
    query: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let path = RawPathParams::from_request_parts(parts, state).await;
        let path = match &path {
            Ok(values) => values
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            Err(_) => HashMap::new(),
        };
        Ok(Parameters {
            path,
            query: query(parts.uri.query().unwrap_or_default()),
        })
    }
}

impl Parameters {
    pub fn text(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// An id of 32 hexadecimal digits, in lower case.
    pub fn id(&self, name: &str) -> Result<String> {
        let text = self.text(name);
        parse_id(text).ok_or_else(|| Failure::parameter("path", name, text))
    }

    pub fn job(&self) -> Result<JobId> {
        let text = self.text("jobid");
        job_id(text).ok_or_else(|| Failure::parameter("path", "jobid", text))
    }

    /// A whole number from 0.
    pub fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name);
        text.parse().map_err(|_| Failure::parameter("path", name, text))
    }

    /// The first value of a name after `?`.
    pub fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Values with commas between, also where the name comes more than once.
    pub fn query_list(&self, name: &str) -> Vec<&str> {
        let values = self.query.iter().filter(|(key, _)| key == name);
        values
            .flat_map(|(_, value)| value.split(','))
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// The value of a name after `?`, if it is given; the error names both.
    pub fn query_parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        match self.query(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(Failure::parameter("query", name, text)),
            },
        }
    }
}

fn query(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
        .collect()
}

/// `%41` and `+` as in forms; what is none of them stays.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok());
        match (bytes[at], hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// 32 hexadecimal digits, in lower case.
pub fn parse_id(text: &str) -> Option<String> {
    let is_id = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then(|| text.to_ascii_lowercase())
}

pub fn job_id(text: &str) -> Option<JobId> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(JobId(bytes))
}

/// The body of a request: JSON, whatever type it is sent with; nothing stands for the default.
pub fn body<T: DeserializeOwned + Default>(what: &str, bytes: &[u8]) -> Result<T> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(bytes)
        .map_err(|e| Failure::bad_request(format!("Request did not match expected format {what}.\n{e}")))
}

/// `?agg=`: what is told of the values of several places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    Min,
    Max,
    Avg,
    Sum,
    Skew,
}

impl std::str::FromStr for Aggregation {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "min" => Ok(Aggregation::Min),
            "max" => Ok(Aggregation::Max),
            "avg" => Ok(Aggregation::Avg),
            "sum" => Ok(Aggregation::Sum),
            "skew" => Ok(Aggregation::Skew),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let parameters = Parameters {
            path: HashMap::new(),
            query: query("get=a,b%5B1%5D&get=c+d&odd&n=7&m=x"),
        };
        assert_eq!(parameters.query_list("get"), ["a", "b[1]", "c d"]);
        assert_eq!(parameters.query("odd"), Some(""));
        assert_eq!(parameters.query_parsed::<u64>("n").unwrap(), Some(7));
        assert_eq!(parameters.query_parsed::<u64>("none").unwrap(), None);
        assert!(parameters.query_parsed::<u64>("m").is_err());
        assert_eq!(decoded("100%"), "100%");
    }

    #[test]
    fn ids_have_32_digits() {
        assert_eq!(parse_id(&"AB".repeat(16)), Some("ab".repeat(16)));
        assert_eq!(parse_id("ab"), None);
        assert_eq!(job_id(&"0a".repeat(16)), Some(JobId([10; 16])));
        assert_eq!(job_id("x"), None);
    }

    #[test]
    fn an_empty_body_is_the_default() {
        assert_eq!(body::<Vec<u8>>("Numbers", b" ").unwrap(), Vec::<u8>::new());
        assert_eq!(body::<Vec<u8>>("Numbers", b"[1]").unwrap(), [1]);
        assert!(body::<Vec<u8>>("Numbers", b"x").is_err());
    }
}
