//! What was measured, as it is saved under bench/results. The report is made from these files only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::stats::{self, Percentiles};

/// One pass-through of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// Records a second between the first and the last tenth of the records.
    pub rate: f64,
    /// CPU seconds of the engine's processes for a million records, over the same part.
    pub cpu_seconds_per_million: f64,
    /// The highest resident set sizes of its processes, added.
    pub peak_bytes: u64,
    /// How long that part was.
    pub steady_seconds: f64,
    /// From the start of the process, or of the job in a running cluster, to its end.
    pub job_seconds: f64,
}

/// All engines, one after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub void: Option<String>,
    /// By the engine's name.
    pub passes: BTreeMap<String, Pass>,
}

/// Settings of Apache Flink that a measurement was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlinkSettings {
    pub name: String,
    /// `key=value`, and options of the JVM.
    pub options: Vec<String>,
}

/// The pass-through benchmark of one format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passthrough {
    pub date: String,
    pub machine: Machine,
    pub format: String,
    pub messages: u64,
    pub message_bytes: u64,
    pub partitions: u32,
    pub parallelism: u32,
    /// Below this rate of the copy loop a round is void.
    pub floor: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flink_settings: Option<FlinkSettings>,
    pub rounds: Vec<Round>,
}

impl Passthrough {
    /// An engine's passes in the rounds that count.
    pub fn passes(&self, engine: &str) -> Vec<Pass> {
        let counted = self.rounds.iter().filter(|round| round.void.is_none());
        counted
            .filter_map(|round| round.passes.get(engine).copied())
            .collect()
    }

    /// The median of one figure of an engine, if it was measured.
    pub fn median(&self, engine: &str, figure: fn(&Pass) -> f64) -> Option<f64> {
        stats::median(&self.passes(engine).iter().map(figure).collect::<Vec<_>>())
    }
}

/// One latency measurement of one engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyRun {
    /// `kafka` is a reader of the input topic: what producer, broker and reader take by themselves.
    pub engine: String,
    pub milliseconds: Percentiles,
}

/// The latency benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub date: String,
    pub machine: Machine,
    pub messages_per_second: u64,
    pub warm_up_seconds: u64,
    pub seconds: u64,
    pub runs: Vec<LatencyRun>,
}

impl Latency {
    pub fn of(&self, engine: &str) -> Vec<Percentiles> {
        self.runs
            .iter()
            .filter(|run| run.engine == engine)
            .map(|run| run.milliseconds)
            .collect()
    }

    pub fn median(&self, engine: &str, figure: fn(&Percentiles) -> f64) -> Option<f64> {
        stats::median(&self.of(engine).iter().map(figure).collect::<Vec<_>>())
    }
}

/// The start-up benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Startup {
    pub date: String,
    pub machine: Machine,
    /// From the start of the process to the first record in a read_uncommitted reader's hands.
    pub milliseconds: Vec<f64>,
}

/// Which of Flink's settings is fastest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlinkTuning {
    pub date: String,
    pub machine: Machine,
    pub format: String,
    pub messages: u64,
    pub tried: Vec<Tried>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    pub settings: FlinkSettings,
    pub passes: Vec<Pass>,
}

impl Tried {
    pub fn rate(&self) -> Option<f64> {
        stats::median(&self.passes.iter().map(|pass| pass.rate).collect::<Vec<_>>())
    }
}

impl FlinkTuning {
    pub fn fastest(&self) -> Option<&Tried> {
        let rate = |tried: &&Tried| tried.rate().unwrap_or(0.0);
        self.tried.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)))
    }
}

/// The folder of results.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

pub const PASSTHROUGH_JSON: &str = "passthrough-json";
pub const PASSTHROUGH_RAW: &str = "passthrough-raw";
pub const LATENCY: &str = "latency";
pub const STARTUP: &str = "startup";
pub const KEYED: &str = "keyed";
pub const KAFKA_KEYED: &str = "kafka-keyed";
pub const KEYS: &str = "keys";
pub const CHECKPOINTS: &str = "checkpoints";

/// Where the tuning of Flink's settings for a format is saved.
pub fn flink_settings(format: &str) -> String {
    format!("flink-settings-{format}")
}

impl Folder {
    pub fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.0.join(format!("{name}.{extension}"))
    }

    pub fn save(&self, name: &str, result: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(result)?;
        text.push('\n');
        write(&self.path(name, "json"), &text)
    }

    /// Nothing if it was not measured.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path(name, "json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("reading {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }
}

/// Writes a file in one step, and its folder if it is not there.
pub fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("tmp");
    fs::write(&fresh, text).with_context(|| format!("writing {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("writing {}", path.display()))
}

pub fn today() -> String {
    chrono::Utc::now().format("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_testkit::scratch::Scratch;

    fn pass(rate: f64) -> Pass {
        Pass {
            rate,
            cpu_seconds_per_million: 1.0,
            peak_bytes: 1,
            steady_seconds: 1.0,
            job_seconds: 1.0,
        }
    }

    #[test]
    fn the_fastest_settings_win_by_their_median() {
        let tried = |name: &str, rates: &[f64]| Tried {
            settings: FlinkSettings {
                name: name.into(),
                options: vec![],
            },
            passes: rates.iter().copied().map(pass).collect(),
        };
        let tuning = FlinkTuning {
            date: today(),
            machine: Machine::look(Path::new("/nothing/here"), "3.9.1", "2.1.1"),
            format: "json".into(),
            messages: 1,
            tried: vec![
                tried("a", &[1.0, 9.0, 2.0]),
                tried("b", &[3.0, 3.0, 3.0]),
                tried("c", &[]),
            ],
        };
        assert_eq!(tuning.fastest().unwrap().settings.name, "b");
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let scratch = Scratch::new("results").unwrap();
        let folder = Folder(scratch.join("results"));
        assert_eq!(folder.load::<Startup>(STARTUP).unwrap(), None);
        let startup = Startup {
            date: today(),
            machine: Machine::look(Path::new("/nothing/here"), "3.9.1", "2.1.1"),
            milliseconds: vec![120.5, 130.0],
        };
        folder.save(STARTUP, &startup).unwrap();
        assert_eq!(folder.load(STARTUP).unwrap(), Some(startup));
        fs::write(folder.path(LATENCY, "json"), "{").unwrap();
        assert!(folder.load::<Latency>(LATENCY).is_err());
    }
}
