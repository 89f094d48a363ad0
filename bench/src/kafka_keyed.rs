//! Keyed jobs from Kafka to Kafka, exactly-once, on Millrace and on Apache Flink.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::flink::Settings;
use crate::lab::{Engine, Lab};
use crate::machine::Machine;
use crate::message;
use crate::passthrough::{fill, flink_pass, millrace_pass, print, record};
use crate::results::{self, FlinkSettings, Folder, Pass};
use crate::stats;

const SOURCE: &str = include_str!("../jobs/kafka/source.sql");
/// Records of a window, and keys.
const WINDOW: u64 = 10_000;
const KEYS: i64 = 10_000;

/// A job behind the source.
struct Text {
    name: &'static str,
    title: &'static str,
    sql: &'static str,
    /// How many times Flink's rate is asked for.
    asked: f64,
    /// Records that it writes for so many messages.
    written: fn(u64) -> u64,
}

const JOBS: &[Text] = &[
    Text {
        name: "running-sum",
        title: "running sum (OVER)",
        sql: include_str!("../jobs/kafka/running-sum.sql"),
        asked: 2.5,
        written: |messages| messages,
    },
    Text {
        name: "tumble",
        title: "count and sum by TUMBLE of 10 s",
        sql: include_str!("../jobs/kafka/tumble.sql"),
        asked: 4.0,
        written: windows,
    },
    Text {
        name: "group",
        title: "GROUP BY into upsert-kafka",
        sql: include_str!("../jobs/kafka/group.sql"),
        asked: 2.5,
        written: |messages| messages,
    },
];

/// `millrace-bench kafka-keyed`
#[derive(Debug, Args, Clone)]
pub struct Options {
    /// Messages in the input topic: enough for ten seconds of the fastest
    #[arg(long, default_value_t = 20_000_000)]
    pub messages: u64,
    /// Rounds that count
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Rounds before, which do not count
    #[arg(long, default_value_t = 1)]
    pub warm_up: usize,
    /// Only these jobs [default: all]
    #[arg(long, value_delimiter = ',')]
    pub jobs: Vec<String>,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::Millrace, Engine::Flink])]
    pub engines: Vec<Engine>,
    /// The engine's binary [default: beside this program]
    #[arg(long)]
    pub millrace: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub name: String,
    pub title: String,
    pub asked: f64,
    /// Records written for all messages.
    pub written: u64,
    /// By engine; rates are those of written records.
    pub passes: BTreeMap<String, Vec<Pass>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KafkaKeyed {
    pub date: String,
    pub machine: Machine,
    pub messages: u64,
    pub flink_settings: Option<FlinkSettings>,
    pub jobs: Vec<Job>,
}

impl Job {
    /// Messages read a second, one figure a round.
    pub fn rates(&self, engine: &str, messages: u64) -> Vec<f64> {
        let of_written = messages as f64 / self.written as f64;
        let passes = self.passes.get(engine).map_or(&[][..], Vec::as_slice);
        passes.iter().map(|pass| pass.rate * of_written).collect()
    }

    pub fn rate(&self, engine: &str, messages: u64) -> Option<f64> {
        stats::median(&self.rates(engine, messages))
    }
}

pub fn run(options: &Options, folder: &Folder) -> Result<()> {
    if let Some(unknown) = options
        .jobs
        .iter()
        .find(|name| JOBS.iter().all(|job| job.name != *name))
    {
        let known: Vec<_> = JOBS.iter().map(|job| job.name).collect();
        bail!("there is no job '{unknown}'; there are {}", known.join(", "));
    }
    let settings = Settings::STATEFUL_KAFKA;
    let mut lab = Lab::open(options.millrace.as_deref())?;
    fill(&lab, options.messages)?;
    let mut session = None;
    if options.engines.contains(&Engine::Flink) {
        session = Some(lab.flink(settings)?);
    }
    // The jobs may be measured one after the other, of as many messages.
    let before = folder.load::<KafkaKeyed>(results::KAFKA_KEYED)?;
    let before = before.filter(|before| before.messages == options.messages);
    let mut result = KafkaKeyed {
        date: results::today(),
        machine: lab.machine.clone(),
        messages: options.messages,
        flink_settings: session.is_some().then(|| record(settings)),
        jobs: before.map(|before| before.jobs).unwrap_or_default(),
    };
    let wanted = |job: &&Text| options.jobs.is_empty() || options.jobs.iter().any(|name| name == job.name);
    for text in JOBS.iter().filter(wanted) {
        let sql = format!("{SOURCE}\n{}", text.sql);
        let written = (text.written)(options.messages);
        let mut passes: BTreeMap<String, Vec<Pass>> = BTreeMap::new();
        for round in 0..options.warm_up + options.rounds {
            let counts = round >= options.warm_up;
            println!("{}, {}", text.name, if counts { "counted" } else { "warm-up" });
            let mut order = options.engines.clone();
            let shift = round % order.len().max(1);
            order.rotate_left(shift);
            for engine in order {
                let pass = match engine {
                    Engine::Copy => continue,
                    Engine::Millrace => millrace_pass(&mut lab, &sql, written)?,
                    Engine::Flink => {
                        let session = session.as_mut().context("no cluster of Flink was started")?;
                        flink_pass(&mut lab, session, settings, &sql, written)?
                    }
                };
                print(engine, &pass);
                if counts {
                    passes.entry(engine.name().to_owned()).or_default().push(pass);
                }
            }
        }
        result.jobs.retain(|job| job.name != text.name);
        result.jobs.push(Job {
            name: text.name.to_owned(),
            title: text.title.to_owned(),
            asked: text.asked,
            written,
            passes,
        });
        result
            .jobs
            .sort_by_key(|job| JOBS.iter().position(|of| of.name == job.name));
        folder.save(results::KAFKA_KEYED, &result)?;
    }
    Ok(())
}

/// Windows of keys that so many messages fall into: the arithmetic of `k` in the job's source.
fn windows(messages: u64) -> u64 {
    let mut seen = HashSet::with_capacity(WINDOW as usize);
    let mut count = 0;
    for index in 0..messages {
        if index % WINDOW == 0 {
            seen.clear();
        }
        let id = message::id(index) as i64;
        let mixed = id
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        count += u64::from(seen.insert((mixed / 65_536).abs() % KEYS));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Blanks, sql};

    #[test]
    fn every_blank_of_every_job_is_filled() {
        for job in JOBS {
            let blanks = Blanks {
                name: "bench-1",
                bootstrap: "127.0.0.1:9092",
                input: "in",
                output: "out-1",
                checkpoints: "file:///cp",
                source_options: &[],
                sink_options: &[],
            };
            let text = sql(&format!("{SOURCE}\n{}", job.sql), &blanks).unwrap();
            assert!(text.contains("'topic' = 'out-1',"), "{text}");
        }
    }

    #[test]
    fn a_window_has_about_two_thirds_of_its_records_as_keys() {
        let count = windows(100 * WINDOW) as f64 / (100 * WINDOW) as f64;
        assert!((0.6..0.66).contains(&count), "{count}");
    }
}
