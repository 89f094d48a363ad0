//! What a server answered, by a name for each request.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::client::{Answer, Client};
use crate::contract::shape;

/// The answers of one server to a scenario.
pub struct Record<'a> {
    pub client: &'a Client,
    pub answers: BTreeMap<String, Answer>,
}

/// Values for the `:names` in a path.
pub type Values<'a> = &'a [(&'a str, &'a str)];

impl<'a> Record<'a> {
    pub fn new(client: &'a Client) -> Self {
        Record {
            client,
            answers: BTreeMap::new(),
        }
    }

    /// Asks, and keeps the answer under the path as it is written here, with a note where one path is asked twice.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        note: &str,
        values: Values<'_>,
        body: &Value,
    ) -> Result<Answer> {
        let mut filled = path.to_owned();
        for (name, value) in values {
            filled = filled.replace(&format!(":{name}"), value);
        }
        if filled.contains("/:") {
            bail!("{path} has no value for one of its names");
        }
        let answer = self.client.json(method, &filled, body)?;
        self.keep(method, path, note, &answer)?;
        Ok(answer)
    }

    pub fn get(&mut self, path: &str, note: &str, values: Values<'_>) -> Result<Answer> {
        self.ask("GET", path, note, values, &Value::Null)
    }

    pub fn keep(&mut self, method: &str, path: &str, note: &str, answer: &Answer) -> Result<()> {
        let name = match note {
            "" => format!("{method} {path}"),
            note => format!("{method} {path} # {note}"),
        };
        match self.answers.insert(name.clone(), answer.clone()) {
            None => Ok(()),
            Some(_) => bail!("'{name}' is asked twice"),
        }
    }

    /// Statuses, content types and shapes.
    pub fn shapes(&self) -> Result<Map<String, Value>> {
        let mut shapes = Map::new();
        for (name, answer) in &self.answers {
            let body = match answer.is_json() {
                true => shape::of(&answer.value()?),
                false if answer.body.is_empty() => json!("nothing"),
                false => json!("bytes"),
            };
            let shape = json!({"status": answer.status, "content-type": answer.content_type, "body": body});
            shapes.insert(name.clone(), shape);
        }
        Ok(shapes)
    }
}
