//! Apache Flink's answers: written down by `refresh`, compared with what is written by `refresh --check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use millrace_testkit::flink::{self, Flink};
use millrace_testkit::scratch::Scratch;
use serde_json::{Map, Value};

use crate::client::{Answer, Client};
use crate::contract::record::Record;
use crate::contract::scenario::{self, Carrier};
use crate::contract::{recorded_shapes, shape, shapes_file};

/// Where recorded answers are kept: the bodies are read by the tests of their types.
fn answers_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rest-types/tests/answers.json")
}

/// Flink itself; its answers under one name come from the scheduler that tells more.
fn ask_flink() -> Result<(Map<String, Value>, BTreeMap<String, Value>)> {
    let mut shapes = Map::new();
    let mut bodies = BTreeMap::new();
    for scheduler in ["adaptive", "default"] {
        let mut scratch = Scratch::new("flink-rest")?;
        // Until it has gone well: Flink's logs are there.
        scratch.keep(true);
        let folder = scratch.path().display().to_string();
        let options = [
            ("jobmanager.scheduler", scheduler),
            ("metrics.fetcher.update-interval", "500"),
            ("web.upload.dir", &folder),
            (
                "execution.checkpointing.savepoint-dir",
                &format!("file://{folder}"),
            ),
            (
                "execution.checkpointing.dir",
                &format!("file://{folder}/checkpoints"),
            ),
        ];
        let cluster = Flink::start(scratch.path(), &options)?;
        let client = Client::new(cluster.rest_port())?;
        let record = match scheduler {
            "adaptive" => scenario::run(&client, &carrier()?, scratch.path())?,
            _ => scenario::failure(&client, &carrier()?)?,
        };
        shapes.extend(record.shapes()?);
        bodies.extend(recorded(&record, &folder)?);
        scratch.keep(false);
    }
    Ok((shapes, bodies))
}

/// Flink's SqlDriver runs SQL that comes as an argument; a jar has to come with it.
fn carrier() -> Result<Carrier> {
    let jar = flink::home()?.join(format!("opt/flink-sql-gateway-{}.jar", flink::VERSION));
    Ok(Carrier {
        name: "job.jar".to_owned(),
        content: fs::read(jar)?,
    })
}

/// Bodies in JSON of answers that went well, short and without what is this machine's.
fn recorded(record: &Record<'_>, folder: &str) -> Result<BTreeMap<String, Value>> {
    let well = |answer: &&Answer| answer.is_json() && answer.status < 300;
    let answers = record.answers.iter().filter(|(_, answer)| well(answer));
    answers
        .map(|(name, answer)| Ok((name.clone(), shortened(answer.value()?, folder))))
        .collect()
}

const ELEMENTS: usize = 3;
const CHARACTERS: usize = 160;

fn shortened(value: Value, folder: &str) -> Value {
    match value {
        Value::Array(items) => {
            let items = items.into_iter().take(ELEMENTS);
            Value::Array(items.map(|item| shortened(item, folder)).collect())
        }
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, shortened(value, folder)));
            Value::Object(fields.collect())
        }
        Value::String(text) => Value::String(shortened_text(&text, folder)),
        other => other,
    }
}

fn shortened_text(text: &str, folder: &str) -> String {
    let home = flink::home()
        .map(|home| home.display().to_string())
        .unwrap_or_default();
    let downloads = home.split("/flink/").next().unwrap_or_default();
    let text = text
        .replace(folder, "/flink")
        .replace(&home, "/opt/flink")
        .replace(downloads, "/opt");
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[test]
#[ignore = "asks Apache Flink, and is run by refresh"]
fn answers_are_as_they_were_recorded() -> Result<()> {
    let (shapes, bodies) = ask_flink()?;
    if env::var_os("REST_REFRESH").is_some() {
        write(&shapes_file(), &shapes)?;
        return write(&answers_file(), &bodies);
    }
    let recorded = recorded_shapes()?;
    let differences = shape::differences("flink", &Value::Object(recorded), &Value::Object(shapes));
    ensure!(
        differences.is_empty(),
        "Apache Flink answers otherwise than recorded:\n{}",
        differences.join("\n")
    );
    Ok(())
}

fn write(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
