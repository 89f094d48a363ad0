//! The REST API beside Apache Flink's: the same requests, and the shapes of what both answer.
//!
//! `shapes.json` holds the shapes of Flink's answers. `refresh` writes it, and the answers in
//! `engine/rest-types/tests/answers.json`; `refresh --check` asks Flink again and compares, in the long tests.

mod flink;
pub mod jobs;
mod ours;
mod record;
mod scenario;
mod shape;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

fn shapes_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rest/contract/shapes.json")
}

fn recorded_shapes() -> Result<Map<String, Value>> {
    let path = shapes_file();
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}
